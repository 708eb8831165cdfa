"""A pool gives one device's numbers, whatever becomes of its devices."""

import threading
import time
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from synflip.devices import pool as pools
from synflip.devices.pool import Pool
from synflip.devices.registry import DeviceName, open_device
from synflip.devices.transport import BusError
from synflip.errors import DeviceError, DeviceWarning, SynflipError
from synflip.golden.cpu import Golden
from synflip.inference.request import InferenceRequest, Progress
from synflip.inference.result import Result
from synflip.spec.geometry import Geometry
from synflip.spec.model import CompiledModel

from tests.inference.test_pieces import equal
from tests.networks import random_model

MODEL = random_model((12, 16, 5))
IMAGES = np.random.default_rng(2).integers(0, 256, (40, 12)).astype(np.uint8)
SAMPLES = 6


class Machine(Golden):
    """The golden model as a device that can do worse. dies: the run, from 0, that fails. late: set when its
    runs may begin. ran: pieces that it computed to the end."""

    def __init__(
        self,
        geometry: Geometry | None = None,
        dies: int | None = None,
        error: Callable[[], Exception] = lambda: BusError("it was unplugged"),
        late: threading.Event | None = None,
        seconds: float = 0.0,
    ) -> None:
        super().__init__(geometry or Geometry(16, 1, image_slots=2))
        self.dies, self.error, self.late, self.seconds = dies, error, late, seconds
        self.began = self.ran = 0
        self.load_error: Exception | None = None
        self.closed = threading.Event()

    def prepare(self, model: CompiledModel) -> None:
        if self.load_error is not None:
            raise self.load_error
        super().prepare(model)

    def run(self, request: InferenceRequest, progress: Progress | None = None) -> Result:
        self.began += 1
        if self.late is not None:
            self.late.wait()
            progress = None  # it answers after it was given up, too
        time.sleep(self.seconds)
        if self.dies is not None and self.began > self.dies:
            raise self.error()
        result = super().run(request, progress)
        self.ran += 1
        return result

    def close(self) -> None:
        super().close()
        self.closed.set()


@pytest.fixture(scope="module")
def golden() -> Iterator[Golden]:
    with Golden(predict=False) as device:
        device.load(MODEL)
        yield device


def pool_of(*machines: Machine) -> Pool:
    pool = Pool([(f"machine {number}", machine) for number, machine in enumerate(machines)])
    pool.load(MODEL)
    return pool


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"margin": 2},
        {"logits": True},
        {"first": 9},
        {"keep_keys": True},
        {"keys": np.random.default_rng(1).integers(0, 1 << 63, (SAMPLES, 32)).astype(np.uint64)},
    ],
    ids=lambda asked: ",".join(asked) or "plain",
)
@pytest.mark.parametrize("images", [0, 1, 3, 40])
def test_the_numbers_of_one_device(golden: Golden, images: int, asked: dict[str, object]) -> None:
    with pool_of(Machine(), Machine(Geometry(32, 2)), Machine(Geometry(16, 4))) as pool:
        want = golden.infer(IMAGES[:images], SAMPLES, 1, **asked)  # type: ignore[arg-type]
        have = pool.infer(IMAGES[:images], SAMPLES, 1, **asked)  # type: ignore[arg-type]
        assert equal(want, have)
        if "keep_keys" in asked:
            assert np.array_equal(want.keys, have.keys)
        else:
            assert have.cycles >= 0


def test_samples_of_a_single_image_are_shared(golden: Golden) -> None:
    machines = [Machine(seconds=0.01), Machine(seconds=0.01)]
    with pool_of(*machines) as pool:
        assert equal(golden.infer(IMAGES[:1], 64, 1), pool.infer(IMAGES[:1], 64, 1))
    assert min(machine.ran for machine in machines) > 0


class Junctions(Machine):
    """Its coins are those of tunnel junctions: there is no sample before the first."""

    numbered = False

    def run(self, request: InferenceRequest, progress: Progress | None = None) -> Result:
        assert not request.first
        return super().run(request, progress)


def test_samples_of_tunnel_junctions_are_not_cut(golden: Golden) -> None:
    for machines in ((Junctions(), Machine()), (Machine(), Junctions())):
        with pool_of(*machines) as pool:
            assert not pool.numbered
            pool.infer(IMAGES[:1], 64, 3)
            assert sum(machine.ran for machine in machines) == 1
    with pool_of(Machine(), Machine()) as pool:
        assert pool.numbered


def test_work_follows_speed() -> None:
    slow, fast = Machine(seconds=0.05), Machine(seconds=0.001)
    with pool_of(slow, fast) as pool:
        pool.infer(np.repeat(IMAGES, 20, 0), SAMPLES, 1)
        assert {member.device: member.speed for member in pool._members}[fast] > 0  # it was measured
        assert slow.ran < fast.ran


@pytest.mark.parametrize(
    "error",
    [
        lambda: BusError("it was unplugged"),
        lambda: DeviceError("the GPU failed"),
        lambda: OSError("no such device"),
        MemoryError,
    ],
)
@pytest.mark.parametrize("dies", range(4))
def test_a_device_dies_in_every_place(golden: Golden, dies: int, error: Callable[[], Exception]) -> None:
    dying, sound = Machine(dies=dies, error=error, seconds=0.002), Machine(seconds=0.002)
    with pool_of(dying, sound) as pool:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            have = pool.infer(IMAGES, SAMPLES, 1, logits=True)
            began = dying.began
            until = time.monotonic() + 60
            while began > dies and not pool.lost and time.monotonic() < until:
                time.sleep(0.001)  # it may fail when the other has done its piece too
            again = pool.infer(IMAGES, SAMPLES, 2)
        assert equal(golden.infer(IMAGES, SAMPLES, 1, logits=True), have)
        assert equal(golden.infer(IMAGES, SAMPLES, 2), again)
        if began > dies:  # else the other was so fast that it was not asked so often
            assert list(pool.lost) == ["machine 0"]
            assert [one.category for one in said] == [DeviceWarning]
            assert dying.began == began  # lost until the next load
            dying.dies = None
            pool.load(MODEL)
            assert not pool.lost
            assert equal(golden.infer(IMAGES, SAMPLES, 2), pool.infer(IMAGES, SAMPLES, 2))


def test_the_first_piece_of_one_that_dies_is_handed_over(golden: Golden) -> None:
    with pool_of(Machine(dies=0), Machine(seconds=0.002)) as pool:
        with pytest.warns(DeviceWarning, match="machine 0 left the pool, .*: it was unplugged"):
            have = pool.infer(IMAGES, SAMPLES, 1)
        assert equal(golden.infer(IMAGES, SAMPLES, 1), have)


def test_all_die() -> None:
    with pool_of(Machine(dies=1), Machine(dies=0, error=lambda: OSError("gone"))) as pool:
        wrong = "all devices of the pool are lost .*: machine 0: it was unplugged; machine 1: gone"
        with pytest.raises(SynflipError, match=wrong):
            pool.infer(IMAGES, SAMPLES, 1)
        with pytest.raises(SynflipError, match=wrong):
            pool.infer(IMAGES, SAMPLES, 1)


def test_an_answer_after_it_was_given_up_counts_for_nothing(
    golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "PATIENCE", 0.1)
    may = threading.Event()
    late = Machine(late=may)
    with pool_of(late, Machine(seconds=0.001)) as pool:
        want = golden.infer(IMAGES, SAMPLES, 1, logits=True)
        first = pool.infer(IMAGES, SAMPLES, 1, logits=True)
        assert equal(want, pool.infer(IMAGES, SAMPLES, 1, logits=True))  # while it is still busy
        assert not late.ran and not pool.lost
        with pytest.warns(DeviceWarning, match="machine 0 left the pool, .*: it still does not answer"):
            pool.load(MODEL)
        have = pool.infer(IMAGES, SAMPLES, 1, logits=True)
        may.set()
        while late.ran < late.began:
            time.sleep(0.001)
        assert equal(want, have)  # its answers came, and changed nothing
        late.late = None
        pool.load(MODEL)
        assert not pool.lost
        assert equal(want, first)
        assert equal(want, pool.infer(IMAGES, SAMPLES, 1, logits=True))


def test_a_device_that_never_answers_does_not_keep_a_pool_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "PATIENCE", 0.1)
    may = threading.Event()
    late, sound = Machine(late=may), Machine(seconds=0.001)
    with pool_of(late, sound) as pool:
        pool.infer(IMAGES, SAMPLES, 1)
    assert sound.closed.is_set() and not late.closed.is_set()
    may.set()
    assert late.closed.wait(10)  # by its own thread, when it answered


def test_a_device_that_does_not_load_is_lost(golden: Golden) -> None:
    broken = Machine()
    broken.load_error = BusError("no answer")
    with pytest.warns(DeviceWarning, match="machine 0 left the pool, .*: no answer"):
        pool = pool_of(broken, Machine())
    with pool:
        assert equal(golden.infer(IMAGES, SAMPLES, 1), pool.infer(IMAGES, SAMPLES, 1))
        assert not broken.began


def test_a_model_that_a_device_refuses() -> None:
    refusing = Machine()
    refusing.load_error = SynflipError("the model has 4-bit probability words, the accelerator 3")
    with pytest.raises(SynflipError, match="machine 1: the model has 4-bit probability words"):
        pool_of(Machine(), refusing)


def test_a_defect_is_not_taken_for_a_death() -> None:
    broken = Machine(dies=0, error=lambda: ZeroDivisionError("a defect"))
    with pool_of(broken, Machine(seconds=0.01)) as pool, pytest.raises(ZeroDivisionError, match="a defect"):
        pool.infer(IMAGES, SAMPLES, 1)


def test_progress_ends_at_the_end_and_never_goes_back() -> None:
    seen: list[tuple[int, int]] = []
    with pool_of(Machine(), Machine()) as pool:
        pool.infer(IMAGES, SAMPLES, 1, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (240, 240) and seen == sorted(set(seen))


def test_an_interrupt_leaves_the_pool_usable(golden: Golden) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pool_of(Machine(seconds=0.01), Machine(seconds=0.01)) as pool:
        with pytest.raises(KeyboardInterrupt):
            pool.infer(IMAGES, SAMPLES, 1, progress=interrupt)
        assert equal(golden.infer(IMAGES, SAMPLES, 1), pool.infer(IMAGES, SAMPLES, 1))


def test_without_a_model() -> None:
    with Pool([("machine", Machine())]) as pool, pytest.raises(SynflipError, match="no model loaded"):
        pool.infer(IMAGES, SAMPLES, 1)


# Names


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("pool:golden", ("golden",)),
        ("pool:golden,golden:16x2", ("golden", "golden:16x2")),
        (
            "pool:golden:16x2,image_slots=4,bits=3,/dev/ttyUSB0",
            ("golden:16x2,image_slots=4,bits=3", "/dev/ttyUSB0"),
        ),
        ("pool:/dev/ttyUSB0@9600,COM3,netlist:ecp5:16x1", ("/dev/ttyUSB0@9600", "COM3", "netlist:ecp5:16x1")),
    ],
)
def test_a_pool_by_name(name: str, members: tuple[str, ...]) -> None:
    assert DeviceName.parse(name) == DeviceName("pool", members=members)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("pool", "nothing is no device of a pool"),
        ("pool:golden,", "nothing is no device of a pool"),
        ("pool:golden,pool:golden", "a pool is no device of a pool"),
        ("pool:/dev/a,golden,/dev/a", "/dev/a is twice"),
        ("pool:golden,nonsense", "no device 'nonsense'"),
        ("pool:golden:17x1", "lanes must be a multiple of 16"),
    ],
)
def test_a_name_that_is_no_pool(name: str, wrong: str) -> None:
    with pytest.raises(SynflipError, match=wrong):
        open_device(name)


def test_devices_before_one_that_cannot_be_opened_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Golden] = []
    monkeypatch.setattr(Golden, "close", lambda device: closed.append(device))
    with pytest.raises(SynflipError, match="/dev/there-is-none"):
        open_device("pool:golden:16x1,/dev/there-is-none")
    assert len(closed) == 1


def test_an_opened_pool(golden: Golden) -> None:
    with open_device("pool:golden:16x1,image_slots=2,golden", Geometry(32, 2)) as pool:
        assert pool.name == "pool:golden:16x1,image_slots=2,golden"
        assert pool.geometry == Geometry(16, 1, image_slots=2)
        pool.load(MODEL)
        assert equal(golden.infer(IMAGES, SAMPLES, 1, margin=3), pool.infer(IMAGES, SAMPLES, 1, margin=3))
