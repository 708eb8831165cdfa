"""The driver over pyserial and a pseudo-terminal to the gateware in Verilator, with and without faults."""

import itertools
import os
import time
from collections import Counter

import numpy as np
import pytest
from synflip.cli.app import main
from synflip.devices import serial
from synflip.devices.accelerator import Accelerator
from synflip.devices.framing import Replies, Reply, escape
from synflip.devices.serial import SerialTransport
from synflip.devices.transport import BusError, Read, Write
from synflip.golden.cpu import Golden
from synflip.modelfile.safetensors import save
from synflip.spec import memory_map
from synflip.spec.frames import CODE_SHIFT, FLAG, MAX_WORDS, NO_TAG, QUEUE_REQUESTS, Status
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import Region, register
from synflip.spec.model import CompiledModel
from synflip_sim.serial.line_faults import KINDS, Faults
from synflip_sim.serial.pty import PtyDevice, SerialLine

from tests.networks import random_network, small_convolutional_network

pytestmark = pytest.mark.simulator

GEOMETRY = Geometry(
    16, 2, bits=4, weight_depth=256, event_depth=256, key_depth=64, bias_depth=64, image_slots=8, log_depth=64
)
LINE = SerialLine(divisor=4, silence_bits=512)
SIMPLE = SerialLine(divisor=4, silence_bits=512, queued=False)
#: Roughly what the simulated line moves in real time: only time-outs follow from it.
BAUD = 50_000
FAULTS = 10_000
EVERY = 60  # bytes
SHORT = 12  # words in a frame of which one in two arrives


def network(seed, sizes=(24, 20, 5), bits=4) -> CompiledModel:
    return random_network(np.random.default_rng(seed), sizes, bits)


def pixels(seed, count=8, rows=24):
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 256, (count, rows)) * (rng.random((count, rows)) < 0.6)).astype(np.uint8)


def check(device: Accelerator, model, images, samples, seed, margins=None, logits=True):
    golden = Golden(device.geometry)
    golden.load(model)
    want = golden.infer(images, samples, seed, margins, logits)
    have = device.infer(images, samples, seed, margins, logits)
    np.testing.assert_array_equal(have.votes, want.votes)
    np.testing.assert_array_equal(have.logit_sums, want.logit_sums)
    np.testing.assert_array_equal(have.used, want.used)
    if logits:
        np.testing.assert_array_equal(have.logits, want.logits)
    assert have.cycles == want.cycles


@pytest.fixture(scope="module")
def port():
    with PtyDevice(GEOMETRY, LINE) as device:
        yield device.path


def connect(path, **other) -> Accelerator:
    return Accelerator(SerialTransport(path, BAUD, **{"tries": 100, **other}), name=path)


@pytest.mark.parametrize(
    "line",
    [pytest.param(LINE, id="ahead"), pytest.param(SIMPLE, id="one at a time", marks=pytest.mark.nightly)],
)
def test_results_equal_golden(line):
    with PtyDevice(GEOMETRY, line) as simulator, connect(simulator.path) as device:
        assert device.geometry == GEOMETRY
        assert device.transport.queued == line.queued
        for seed in (1, 2):
            model = network(seed)
            device.load(model)
            check(device, model, pixels(seed), 2, seed)
            check(device, model, pixels(seed), 6, seed, np.full(6, 2), logits=False)
            check(device, model, pixels(seed, 18), 3, seed, logits=False)  # batches that take turns


def test_networks_in_parts_equal_golden(port):
    """Rows (a bank has 64 keys), and a convolution."""
    with connect(port) as device:
        for model in (network(1, (140, 20, 5)), small_convolutional_network()):
            device.load(model)
            images = pixels(1, 2, model.inputs)
            check(device, model, images, 2, 1)
            check(device, model, images, 3, 1, np.array([2, 1, 1]))


def test_verified_from_the_command_line(port, tmp_path, capsys):
    save(network(7), tmp_path / "m.safetensors")
    np.save(tmp_path / "x.npy", pixels(7))
    files = [str(tmp_path / "m.safetensors"), "--images", str(tmp_path / "x.npy")]
    assert main(["verify", *files, "--samples", "2", "--device", f"{port}@{BAUD}"]) == 0
    save(network(7, (140, 5)), tmp_path / "large.safetensors")
    np.save(tmp_path / "large.npy", pixels(7, 2, 140))
    large = [str(tmp_path / "large.safetensors"), "--images", str(tmp_path / "large.npy"), "--samples", "2"]
    capsys.readouterr()
    assert main(["run", *large, "--out", str(tmp_path / "r.npz"), "--device", f"{port}@{BAUD}"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "140-5 on 16x2 runs in parts, predicted: 2 parts, 4 runs" in said
    assert "baud" in said and "bytes measured" in said
    assert main(["verify", *files, "--device", port, "--geometry", "16x2"]) != 0
    assert "says itself what it is" in capsys.readouterr().err


def test_frames_of_every_length(port):
    rng = np.random.default_rng(3)
    place = memory_map.address(Region.WEIGHTS)
    transport = SerialTransport(port, BAUD, tries=100)
    for count in (1, 2, MAX_WORDS - 1, MAX_WORDS, MAX_WORDS + 1):
        transport.write(place, rng.integers(0, 1 << 32, count, dtype=np.uint32))
    # What can be read back is short, so reading is tried in bursts of one and two as well.
    for burst in (1, 2, 5, MAX_WORDS):
        transport._burst = burst
        words = transport.read(memory_map.register("LANES"), 5)
        assert words.tolist() == [16, 2, 4, 8, GEOMETRY.weight_depth]
    assert len(transport.read(0, 0)) == 0
    transport.close()


def test_refused_accesses(port):
    with connect(port) as device:
        end = memory_map.address(Region.MARGINS, GEOMETRY.margin_depth)
        for count in (1, 4):
            with pytest.raises(BusError, match=f"the accelerator at {port} refused a write at {end:#x}"):
                device.transport.write(end - count + 1, np.zeros(count + 3, dtype=np.uint32))
            with pytest.raises(BusError, match=f"refused a read at {end:#x}"):
                device.transport.read(end, count)
        model = network(4)
        device.load(model)
        check(device, model, pixels(4), 2, 4)


def test_writing_while_busy_is_refused_and_an_abort_ends_the_run(port):
    with connect(port) as device:
        model = network(5)
        device.load(model)
        start, transport = device.run_slots, device.transport

        def first_write_into_the_run():
            with pytest.raises(BusError, match="refused a write"):
                transport.write(memory_map.register("SAMPLES"), np.array([1], dtype=np.uint32))
            raise KeyboardInterrupt

        transport.wait = first_write_into_the_run
        with pytest.raises(KeyboardInterrupt), start(0, 8, 1_000_000, 5, 0, False):
            pass
        assert device.read_register("STATUS") == 0
        del transport.wait
        check(device, model, pixels(5), 2, 5)


def test_a_host_that_comes_again(port):
    """With its session number of the time before, with another, and while a run is under way."""
    model = network(6)
    for session in (7, 7, 8):
        with connect(port, session=session) as device:
            device.load(model)
            check(device, model, pixels(6), 1, 6)
            device.transport.write(memory_map.register("SAMPLES"), np.array([1 << 20], dtype=np.uint32))
            device.write_register("CONTROL", memory_map.CONTROL_START)
            device.write_register("CONTROL", memory_map.CONTROL_ABORT)


def test_a_session_that_was_taken_over_is_not_gone_on_with(port):
    with connect(port, session=11) as device:
        transport = device.transport
        transport._session = 12
        transport._hello()
        transport._session = 11
        for _ in range(2):
            with pytest.raises(BusError, match="reset or taken over; open it again"):
                device.read_register("STATUS")


WHERE = ("before", "within", "after", "in the reply")


def interrupt(port, patched, where, after=0):
    """Ctrl-C in an exchange, ``after`` requests from now: before, within or after the request's frame, or
    with some bytes of the reply read and gone. Requests that are under way with it go out before."""
    write, read, left, gone = port.write, port.read, [after], []

    def interrupted_read(size):
        assert read(size)
        gone.append(size)
        raise KeyboardInterrupt

    def interrupted_write(frame):
        left[0] -= 1
        if left[0] == -1:
            write({"before": b"", "within": frame[: len(frame) // 2]}.get(where, frame))
            if where != "in the reply":
                raise KeyboardInterrupt
            patched.setattr(port, "read", lambda size: interrupted_read(size) if port.in_waiting else b"")
        elif gone:
            patched.setattr(port, "read", read)
            write(frame)
        else:
            write(frame)

    patched.setattr(port, "write", interrupted_write)


@pytest.mark.parametrize("where", WHERE)
def test_interrupted_in_an_access(port, monkeypatch, where):
    """Whether the request was carried out is asked for; the one after it is not taken for its repeat."""
    with connect(port) as device:
        model = network(9)
        device.load(model)
        check(device, model, pixels(9), 1, 9)
        for word in range(3):
            with monkeypatch.context() as patched:
                interrupt(device.transport._port, patched, where)
                with pytest.raises(KeyboardInterrupt):
                    device.write_register("SAMPLES", 100 + word)
                device.write_register("IMAGES", 3 + word)
            assert device.read_register("IMAGES") == 3 + word
            assert (device.read_register("SAMPLES") == 100 + word) == (where in ("after", "in the reply"))
        check(device, model, pixels(9), 1, 9)


@pytest.mark.parametrize(("rows", "images", "samples"), [(24, 8, 2), (140, 1, 1)], ids=["whole", "in parts"])
def test_interrupted_anywhere_in_an_inference(port, monkeypatch, rows, images, samples):
    """Ctrl-C in each of its requests in turn: the device is idle then, and the next results are right."""
    with connect(port) as device:
        model, requests = network(10, (24, 20, 5) if rows == 24 else (rows, 5)), 0
        device.load(model)
        while True:
            with monkeypatch.context() as patched:
                interrupt(device.transport._port, patched, WHERE[requests % len(WHERE)], after=requests)
                try:
                    device.infer(pixels(10, images, rows), samples, 10)
                except KeyboardInterrupt:
                    requests += 1
                else:
                    break
            assert device.read_register("STATUS") == 0
            if requests % 5 == 0:
                check(device, model, pixels(11, images, rows), 1, requests, logits=False)
        assert requests > 20
        check(device, model, pixels(10, images, rows), 2, 10)


def test_a_device_that_was_reset_is_noticed(port):
    """After an interrupt, when the device is asked how far it came."""
    with connect(port) as device:
        device.transport._number += 5  # it should have carried out more than it has
        device.transport._unsure = True
        with pytest.raises(BusError, match="reset or taken over"):
            device.read_register("STATUS")


def test_nothing_behind_a_refused_access_is_done(port):
    with connect(port) as device:
        place, end = register("SAMPLES"), memory_map.address(Region.MARGINS, GEOMETRY.margin_depth)
        five, six = (np.array([value], dtype=np.uint32) for value in (5, 6))
        read = Read(place, 1)
        with pytest.raises(BusError, match=f"refused a write at {end:#x}"):
            device.transport.exchange([Write(place, five), Write(end, six), Write(place, six), read])
        assert device.read_register("SAMPLES") == 5 and read.words.tolist() == [0]


def test_a_run_that_outlasts_a_poll(port):
    """And one that outlasts the patience for it, after which the device is idle."""
    with connect(port) as device:
        model = network(12)
        device.load(model)
        check(device, model, pixels(12, 1), 8000, 12, logits=False)
        device.timeout = 0
        with pytest.raises(BusError, match="a run did not end in 0 s"):
            device.infer(pixels(12, 1), 1 << 20, 12)
        assert device.read_register("STATUS") == 0


def test_nothing_is_sent_twice_on_a_good_line(port):
    """Every answer comes, whole, while nothing else happens on the line."""
    transport = SerialTransport(port, BAUD, timeout=60.0)
    words = np.arange(MAX_WORDS, dtype=np.uint32)
    for count in range(1, MAX_WORDS, 25):
        transport.write(memory_map.address(Region.WEIGHTS), words[:count])
        transport.read(memory_map.address(Region.VOTES), count)
    assert transport.counters.repeats == 0
    transport.close()


def test_an_answer_is_waited_for_while_it_comes(port, monkeypatch):
    """However slowly; but not for ever, if it is no answer."""
    transport = SerialTransport(port, BAUD, timeout=1.0, tries=2)
    read, now = transport._port.read, [0.0]

    def slow(received):
        now[0] += 0.9 * len(received)
        return received

    monkeypatch.setattr(serial.time, "monotonic", lambda: now[0])
    with monkeypatch.context() as patched:
        patched.setattr(transport._port, "read", lambda size: slow(read(1)))
        words = transport.read(memory_map.register("LANES"), 5)
    assert words.tolist() == [16, 2, 4, 8, GEOMETRY.weight_depth]
    assert now[0] > 20 and transport.counters.repeats == 0
    monkeypatch.setattr(transport._port, "read", lambda size: slow(b"x"))
    with pytest.raises(BusError, match="no answer"):
        transport.read(memory_map.register("LANES"), 5)
    transport.close()


class Frames:
    """A line that changes whole frames. change: of a frame's number, from 0 on, and the frame."""

    def __init__(self, change):
        self.change, self.count, self.open = change, 0, b""

    def __call__(self, sent):
        arrived = b""
        for byte in sent:
            self.open += bytes([byte])
            if byte == FLAG and self.open.strip(bytes([FLAG])):
                arrived += self.change(self.count, self.open)
                self.count, self.open = self.count + 1, b""
        return arrived


def test_a_second_answer_to_the_greeting_is_not_taken_for_one_to_the_first_request():
    """The answer to HELLO comes twice, and the first request is lost."""
    lose = Frames(lambda number, frame: b"" if number == 1 else frame)
    twice = Frames(lambda number, frame: frame * (2 if number == 0 else 1))
    with PtyDevice(GEOMETRY, LINE, lose, twice) as simulator:
        transport = SerialTransport(simulator.path, BAUD)
        transport.write(memory_map.register("SAMPLES"), np.array([77], dtype=np.uint32))
        assert transport.read(memory_map.register("SAMPLES"), 1).tolist() == [77]
        assert transport.counters.repeats == transport.counters.stale == 1
        transport.close()


def test_ports_that_cannot_be_opened_and_devices_that_do_not_answer(port, tmp_path):
    with pytest.raises(BusError, match=f"{tmp_path}/none cannot be opened: .*No such file"):
        SerialTransport(f"{tmp_path}/none")
    with connect(port), pytest.raises(BusError, match=r"cannot be opened: .*lock"):
        SerialTransport(port)
    ours, theirs = os.openpty()
    name = os.ttyname(theirs)
    with pytest.raises(BusError, match=f"no answer from {name} after 3 tries"):
        SerialTransport(name, timeout=0.01, tries=3)
    os.close(ours)
    os.close(theirs)


def test_two_answers_do_not_make_one():
    """The closing flag of one lost, and whatever of the next one's beginning."""

    def frame(tag, status, done=0):
        return escape(np.array([tag, status << CODE_SHIFT | done], dtype="<u4").tobytes())

    answers = [(0x504D0438, Status.OK, 8), (NO_TAG, Status.DAMAGED), (NO_TAG, Status.OVERLONG)]
    assert all(Reply.parse(frame(*answer)[1:-1]) for answer in answers)
    for first, second in itertools.product(answers, repeat=2):
        for cut in range(1, len(frame(*second)) - 1):
            spliced = frame(*first)[:-1] + frame(*second)[cut:]
            assert [*Replies().feed(spliced)] == [None], (first, second, cut)


def test_a_slow_device_is_not_given_more_than_it_answers():
    """An answer takes four times the host's timeout. Without longer waits each request is sent again and
    again, and all that is sent has to be answered before the next: the line only gets fuller."""

    def slow(arriving: bytes) -> bytes:
        time.sleep(0.002 * len(arriving))
        return arriving

    with PtyDevice(GEOMETRY, LINE, slow) as simulator:
        transport = SerialTransport(simulator.path, BAUD, timeout=0.01, tries=20)
        with Accelerator(transport) as device:
            for _ in range(20):
                device.read_register("STATUS")
    assert transport.counters.silences > 20
    assert transport.counters.repeats < 8 * transport.counters.requests


@pytest.mark.parametrize("ahead", [True, pytest.param(False, marks=pytest.mark.nightly)])
def test_results_equal_golden_whatever_the_line_does(ahead, capsys):
    """At least FAULTS faults, in both directions: nothing lost, nothing wrong, nothing twice. ahead: with the
    window open."""
    to_device, from_device = Faults(1, EVERY), Faults(2, EVERY)
    with PtyDevice(GEOMETRY, LINE if ahead else SIMPLE, to_device, from_device) as simulator:
        transport = SerialTransport(simulator.path, BAUD, timeout=0.05, tries=1000, burst=SHORT)
        with Accelerator(transport) as device:
            rounds, injected = 0, Counter()
            while injected.total() < FAULTS:
                rounds += 1
                model = network(rounds)
                device.load(model)
                for seed in range(3):
                    check(device, model, pixels(seed), 3, seed)
                check(device, model, pixels(3, 18), 3, 3, logits=False)  # runs one behind the other
                injected = to_device.injected + from_device.injected
    counters = transport.counters
    with capsys.disabled():
        print(f"\n{rounds} networks; {injected.total()} faults: {dict(injected)}; {counters}")
    assert set(injected) == set(KINDS)
    assert min(to_device.injected.total(), from_device.injected.total()) > FAULTS // 10
    assert counters.repeats > FAULTS // 10
    reasons = counters.silences + counters.damaged_requests + counters.damaged_replies + counters.gaps
    assert counters.repeats <= reasons * (QUEUE_REQUESTS if ahead else 1)
