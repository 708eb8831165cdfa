"""The accelerator behind USB: gateware in Verilator, a ULPI transceiver, and a host of our own."""

import numpy as np
import pytest
from synflip.devices import serial
from synflip.devices.accelerator import Accelerator
from synflip.devices.framing import Replies, request
from synflip.devices.serial import MOST_BAUD, SerialTransport
from synflip.golden.cpu import Golden
from synflip.inference.end_to_end import BUSES, ONE_BANK
from synflip.inference.throughput import activities
from synflip.spec.frames import FLAG, Command, Status
from synflip.spec.fronts import Link
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import Region, address
from synflip.spec.usb import MAKER, PRODUCT, TITLE, VENDOR, Speed
from synflip_sim.usb.bench import SERIAL_NUMBER, UlpiBench, build
from synflip_sim.usb.host import BusFaults, HighSpeedHost, Stalled
from synflip_sim.usb.port import SimulatedPort

from tests.networks import random_network
from tests.rates import MNIST_INPUTS, images_per_second, predict, sparse_images

pytest.importorskip("luna")
pytestmark = pytest.mark.simulator

CLOCK = 100e6
GEOMETRY = Geometry(
    16,
    1,
    weight_depth=1024,
    event_depth=8192,
    key_depth=1024,
    bias_depth=64,
    image_slots=16,
    result_depth=256,
)
INPUTS, HIDDEN, CLASSES = 20, 17, 4


def open_host(clock=CLOCK):
    """A host with the device enumerated, and what it said."""
    host = HighSpeedHost(UlpiBench(build(GEOMETRY, CLOCK), clock))
    host.plug()
    return host, host.enumerate()


@pytest.fixture(scope="module")
def plugged():
    """One for all: to plug it in takes most of the time."""
    host, found = open_host()
    yield host, found
    host.bench.close()


@pytest.fixture
def host(plugged):
    plugged[0].counters.clear()
    yield plugged[0]
    plugged[0].faults = None


@pytest.fixture
def driver(monkeypatch):
    """Opens the accelerator of a host, in the host's time."""

    def open_(host, turn=0.0):
        port = SimulatedPort(host, serial.POLL, turn)
        monkeypatch.setattr(serial, "time", port)
        return Accelerator(SerialTransport("simulated", MOST_BAUD, timeout=0.002, port=port))

    return open_


def infer_as_golden(device, images=6, samples=3):
    rng = np.random.default_rng(1)
    model = random_network(rng, (INPUTS, HIDDEN, CLASSES), 4)
    pixels = rng.integers(0, 256, (images, INPUTS), dtype=np.uint8)
    device.load(model)
    with Golden(GEOMETRY) as golden:
        golden.load(model)
        expected = golden.infer(pixels, samples, 1)
    found = device.infer(pixels, samples, 1)
    np.testing.assert_array_equal(found.votes, expected.votes)
    np.testing.assert_array_equal(found.logit_sums, expected.logit_sums)
    return found


def check_descriptors(found, packet):
    """What a device says of itself. packet: bytes, at most, of its endpoints'."""
    assert found.strings == (MAKER, TITLE, SERIAL_NUMBER)
    assert int.from_bytes(found.device[8:10], "little") == VENDOR
    assert int.from_bytes(found.device[10:12], "little") == PRODUCT
    endpoints = found.configuration[18:25], found.configuration[25:32]
    assert [item[2] for item in endpoints] == [0x01, 0x81]
    assert all(item[3] == 2 and int.from_bytes(item[4:6], "little") == packet for item in endpoints)


def test_a_host_reads_what_the_device_is(plugged):
    host, found = plugged
    check_descriptors(found, 512)
    assert host.control(0x80, 8, length=1) == b"\x01", "its configuration"


@pytest.mark.parametrize(
    ("kind", "number", "value", "length"),
    [
        (0x80, 6, 0x0F00, 5),  # a descriptor that there is not
        (0x80, 6, 0x0309, 255),  # a string that there is not
        (0x80, 11, 0, 0),  # a standard request that no device has
        (0xC0, 1, 0, 4),  # of a vendor
        (0x40, 1, 0, 0),
        (0xA1, 0x21, 0, 7),  # of a class
    ],
)
def test_an_unknown_request_is_stalled_and_the_next_one_answered(host, kind, number, value, length):
    with pytest.raises(Stalled):
        host.control(kind, number, value, length=length)
    assert len(host.control(0x80, 6, 0x0100, length=18)) == 18


def check_inferences(driver, host):
    with driver(host) as device:
        infer_as_golden(device)
        counters = device.transport.counters
        assert counters.repeats == counters.stale == counters.damaged_replies == 0
    assert not host.counters["repeats in"] and not host.counters["repeats out"], host.counters
    assert not host.counters["doubles in"] and not host.counters["silences"], host.counters


def test_inferences_equal_golden(driver, host):
    check_inferences(driver, host)


@pytest.mark.nightly
def test_inferences_equal_golden_with_a_slow_clock(driver):
    """Slower than USB's: the device answers NAK until it has taken what came."""
    host, _ = open_host(3e6)
    check_inferences(driver, host)
    host.write(bytes(4096))  # no frame
    assert host.counters["NAKs out"]
    with driver(host) as device:
        infer_as_golden(device)
    host.bench.close()


def test_bus_errors_lose_nothing(driver, host):
    """Packets are lost or damaged, both ways, handshakes too: USB repeats them, the driver nothing."""
    host.faults = faults = BusFaults(seed=1, every=8)
    with driver(host) as device:
        infer_as_golden(device)
        counters = device.transport.counters
        assert counters.repeats == counters.stale == counters.damaged_replies == 0
    kinds = {f"{kind} {pid}" for kind in ("lost", "flipped") for pid in ("OUT", "IN", "ACK")}
    assert kinds <= set(faults.injected), faults.injected
    assert host.counters["doubles in"] and host.counters["repeats out"], host.counters


def images_of_mnist(device, clock, link):
    """Images a second, simulated and predicted, with as many activations that are not 0 as MNIST's have in
    the mean."""
    events = round(activities()[1]["loads"][ONE_BANK][0][0])
    images = sparse_images(16, events)
    device.load(random_network(np.random.default_rng(1), (MNIST_INPUTS, 10), 4))
    found = images_per_second(device, serial.time, images, 1)
    return found, predict(GEOMETRY, clock, link, 1, 10, events).images


@pytest.mark.parametrize("turn", [0.0, BUSES[Speed.high].frame])
def test_images_of_mnist_a_second(driver, host, turn, capsys):
    """turn: of the host, in seconds."""
    with driver(host, turn) as device:
        found, predicted = images_of_mnist(device, CLOCK, Link.usb)
    with capsys.disabled():
        print(f"\n{found:,.0f} images of MNIST a second, turn {turn}; {predicted:,.0f} predicted")
    assert found > 20_000
    if turn:
        assert found == pytest.approx(predicted, rel=0.05)


def transfer(host):
    """The bytes of one transfer to the host."""
    content = b""
    for _ in range(1000):
        packet = host.read()
        if packet is None:
            host.idle(60)
            continue
        content += packet
        if len(packet) < host.in_.packet:
            return content
    raise AssertionError(f"the transfer does not end behind {len(content)} bytes")


def check_short_packets(host):
    """An empty one ends an answer of one full packet, and one of two: 14 bytes of a frame are no data, and
    two bytes of this session's number are escaped."""
    packet = host.in_.packet
    session, place = 0x7E7D << 16, address(Region.SUMS)
    host.write(request(session, Command.HELLO))
    replies, lengths = Replies(), []
    assert [reply.done for reply in replies.feed(transfer(host))] == [0]
    for number, words in enumerate((1, packet // 4 - 4, packet // 2 - 4) * 3, 1):
        host.write(request(session | number, Command.READ, place, words))
        content = transfer(host)
        assert content[0] == content[-1] == FLAG
        (reply,) = replies.feed(content)
        assert len(reply.data) == reply.done == words
        lengths.append(len(content))
    assert {packet, 2 * packet} < set(lengths)


def test_each_answer_ends_with_a_short_packet(host):
    check_short_packets(host)


def check_reset_in_the_middle(host, driver):
    """Of a frame. Both ends begin with DATA0 again; the next driver finds the device as after it was plugged
    in."""
    frame = request(1 << 16, Command.HELLO)
    while not host.in_.toggle:
        host.write(frame)
        transfer(host)
    host.write(frame[:4])
    if not host.out.toggle:
        host.write(frame[4:7])
    assert host.in_.toggle == host.out.toggle == 1
    host.reset()
    host.enumerate(address=9)
    host.counters.clear()
    host.write(request(2 << 16, Command.HELLO))
    (damaged, hello) = Replies().feed(transfer(host) + transfer(host))
    assert (damaged.status, hello.tag) == (Status.DAMAGED, 2 << 16)
    assert not host.counters["doubles in"], "the device began with DATA1"
    with driver(host) as device:
        infer_as_golden(device)


def test_a_reset_of_the_bus_in_the_middle(host, driver):
    check_reset_in_the_middle(host, driver)


def test_configuring_again_begins_with_data0(host):
    """And clears what waited: the answer of the request before."""
    host.write(request(1 << 16, Command.HELLO))
    host.idle(600)
    host.configure(1)
    host.write(request(2 << 16, Command.HELLO))
    assert transfer(host)[1:5] == (2 << 16).to_bytes(4, "little")
    assert not host.counters["doubles in"] and not host.counters["repeats out"]


@pytest.mark.nightly
def test_suspend_and_resume(host, driver):
    """The session goes on after it."""
    with driver(host) as device:
        before = infer_as_golden(device)
        host.suspend()
        host.resume()
        after = infer_as_golden(device)
    np.testing.assert_array_equal(before.votes, after.votes)
