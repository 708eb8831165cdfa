"""The accelerator behind USB at full speed: gateware in Verilator, D+ and D-, and a host of our own.

The gateware's own transceiver is in it: every bit goes over the lines.
"""

import pytest
from synflip.inference.end_to_end import BUSES
from synflip.spec.fronts import Link
from synflip.spec.usb import Speed
from synflip_sim.usb.bench import LinesBench, build
from synflip_sim.usb.host import BusFaults, FullSpeedHost, Stalled

from tests.hdl.usb.test_usb import (
    GEOMETRY,
    check_descriptors,
    check_inferences,
    check_reset_in_the_middle,
    check_short_packets,
    driver,  # noqa: F401 (a fixture)
    images_of_mnist,
    infer_as_golden,
)

pytest.importorskip("luna")
pytestmark = [pytest.mark.simulator, pytest.mark.nightly]  # the simulator takes half a minute to compile

CLOCK = 24e6


def open_host(bit=LinesBench.BIT):
    """A host with the device enumerated, and what it said. bit: of the host, in cycles of the device."""
    host = FullSpeedHost(LinesBench(build(GEOMETRY, CLOCK, Speed.full), CLOCK, bit))
    host.plug()
    return host, host.enumerate()


@pytest.fixture(scope="module")
def plugged():
    host, found = open_host()
    yield host, found
    host.bench.close()


@pytest.fixture
def host(plugged):
    host = plugged[0]
    host.counters.clear()
    yield host
    host.faults = None
    assert host.bench.broken == 0


def test_a_host_reads_what_the_device_is(plugged):
    host, found = plugged
    check_descriptors(found, 64)
    with pytest.raises(Stalled):
        host.control(0x80, 6, 0x0F00, length=5)


def test_inferences_equal_golden(driver, host, capsys):  # noqa: F811
    check_inferences(driver, host)
    turn = host.bench.longest_turn / LinesBench.BIT
    with capsys.disabled():
        print(f"\nan answer begins at most {turn:.2f} bit times behind the packet")
    assert turn <= 14.5  # a host waits for 16 [7.1.19.1]


@pytest.mark.parametrize("off", [-0.005, 0.005])
def test_clocks_that_differ(driver, off):  # noqa: F811
    """By twice 0.25 %, which the specification allows each end [7.1.11]."""
    host, _ = open_host(LinesBench.BIT * (1 + off))
    check_inferences(driver, host)
    assert host.bench.broken == 0
    host.bench.close()


def test_bus_errors_lose_nothing(driver, host):  # noqa: F811
    host.faults = faults = BusFaults(seed=1, every=8)
    with driver(host) as device:
        infer_as_golden(device)
        counters = device.transport.counters
        assert counters.repeats == counters.stale == counters.damaged_replies == 0
    kinds = {f"{kind} {pid}" for kind in ("lost", "flipped") for pid in ("OUT", "IN", "ACK")}
    assert kinds <= set(faults.injected), faults.injected
    assert host.counters["doubles in"] and host.counters["repeats out"], host.counters


def test_images_of_mnist_a_second(driver, host, capsys):  # noqa: F811
    with driver(host, BUSES[Speed.full].frame) as device:
        found, predicted = images_of_mnist(device, CLOCK, Link.full_speed)
    with capsys.disabled():
        print(f"\n{found:,.0f} images of MNIST a second; {predicted:,.0f} predicted")
    assert found == pytest.approx(predicted, rel=0.05)


def test_each_answer_ends_with_a_short_packet(host):
    check_short_packets(host)


def test_a_reset_of_the_bus_in_the_middle(driver, host):  # noqa: F811
    check_reset_in_the_middle(host, driver)


def test_suspend_and_resume(driver, host):  # noqa: F811
    """The session goes on after it."""
    with driver(host) as device:
        infer_as_golden(device)
        host.suspend()
        host.resume()
        infer_as_golden(device)
