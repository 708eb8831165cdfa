"""Networks in parts on the accelerator in Verilator: all that the golden model says, cycles too."""

from collections.abc import Iterator

import numpy as np
import pytest
from synflip.devices.accelerator import Accelerator
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.inference.compare import compare
from synflip.inference.parts import Traffic, cut, runs_of
from synflip.inference.plan import Plan
from synflip.inference.request import InferenceRequest
from synflip.spec.convolution import Convolution
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import register
from synflip.spec.model import CompiledModel
from synflip.verification.cases import convolutional_model
from synflip_sim.simulators.netlist import small
from synflip_sim.simulators.verilator import open_verilator

from tests.devices.test_parted import kinds
from tests.networks import convolution_layer, random_layers, random_network, small_convolutional_network
from tests.randomness.test_mtj_source import GEOMETRY as JUNCTIONS
from tests.simulators.test_verilator import check, images

pytestmark = pytest.mark.simulator

#: Every kind of part comes up: a bank has 300 entries, 100 keys, 96 biases, 32 results, 24 logits.
TIGHT = Geometry(
    16,
    1,
    weight_depth=300,
    event_depth=128,
    key_depth=100,
    bias_depth=96,
    image_slots=3,
    result_depth=32,
    log_depth=24,
    margin_depth=16,
    layer_depth=2,
)


@pytest.fixture(scope="module")
def device() -> Iterator[Accelerator]:
    with open_verilator(TIGHT, say=lambda text: None) as accelerator:
        yield accelerator


def test_random_networks(device: Accelerator) -> None:
    """One device runs them all. Of some the cycles are predicted, of those with turned keys they are not."""
    seen: set[str] = set()
    predicted = 0
    for draw in range(40):
        rng = np.random.default_rng(draw)
        if draw % 2:
            model = convolutional_model(4, 8, rng)
        else:
            sizes = (*rng.integers(1, 130, rng.integers(1, 5)).tolist(), int(rng.integers(1, 12)))
            model = random_network(rng, sizes)
        found = cut(model, TIGHT)
        seen |= kinds(found)
        samples = int(rng.integers(1, 7))
        margins = rng.integers(0, 4, samples) if draw % 3 else None
        pixels = images(int(rng.integers(1, 6)), model, rng, 0.5)
        result = check(device, model, pixels, samples, draw, margins)
        assert (result.cycles > 0) == found.predictable
        predicted += found.predictable
    assert 10 < predicted < 40
    assert seen == {
        "several layers",
        "one layer",
        "some rows",
        "some outputs",
        "tiles before their own",
        "keys turned by the host",
        "sums instead of the log",
    }


def test_more_than_one_run_keeps(device: Accelerator) -> None:
    """A network that fits, 30 logits of which only 24 go into the log: in parts with logits kept, and where
    early stopping has more samples than margins; as a whole before, between and after."""
    rng = np.random.default_rng(7)
    model = random_network(rng, (20, 30), bits=4)
    pixels = images(4, model, rng)
    device.load(model)
    with Golden(TIGHT) as golden:
        golden.load(model)
        for samples, margin, logits, whole in (
            (3, None, False, True),
            (40, 3, False, False),
            (16, 3, False, True),
            (2, None, True, False),
            (3, None, False, True),
        ):
            request = InferenceRequest(model, pixels, samples, 5, margin, logits)
            assert isinstance(runs_of(request, TIGHT), Plan) == whole
            want = golden.run(request)
            assert compare(want, device.run(request), "device").equal and want.cycles > 0
            assert margin is None or want.used.min() < samples


def test_what_goes_over_the_link_is_predicted(device: Accelerator, monkeypatch: pytest.MonkeyPatch) -> None:
    """All accesses but repeated looks at the status."""
    rng = np.random.default_rng(1)
    write, read, counted = device.transport.write, device.transport.read, [Traffic()]

    def counting_write(place: int, words: np.ndarray) -> None:
        counted[0] = counted[0].plus(Traffic.of(len(words)))
        write(place, words)

    def counting_read(place: int, count: int) -> np.ndarray:
        if place != register("STATUS"):
            counted[0] = counted[0].plus(Traffic.of(count))
        return read(place, count)

    monkeypatch.setattr(device.transport, "write", counting_write)
    monkeypatch.setattr(device.transport, "read", counting_read)
    for model in (random_network(rng, (200, 100, 9)), small_convolutional_network()):
        device.load(model)
        counted[0] = Traffic()
        result = device.infer(images(4, model, rng), 3, 1)
        work = cut(model, TIGHT).work(4, 3)
        runs = sum(work.runs.values())
        assert counted[0].plus(Traffic.of(1, runs)) == work.traffic()
        assert work.most_cycles() >= result.cycles


def test_interrupted_in_any_run(device: Accelerator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C: the device is idle, the same model goes on."""
    model = small_convolutional_network()
    pixels = images(2, model, np.random.default_rng(2))
    device.load(model)
    wait = device.transport.wait
    for after in (0, 3, 20):
        left = [after]

        def interrupted(left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            wait()

        read = device.transport.read

        def busy(place: int, count: int, read=read, interrupted=interrupted) -> np.ndarray:
            if place == register("STATUS"):
                interrupted()
            return read(place, count)

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(device.transport, "read", busy)
            device.infer(pixels, 3, 2)
        assert device.read_register("STATUS") == 0
        assert device.model is model
        check(device, model, pixels, 3, 2)


def test_part_of_the_samples(device: Accelerator) -> None:
    """Of an inference that is done in shards."""
    rng = np.random.default_rng(3)
    model = random_network(rng, (100, 60, 5))
    pixels = images(3, model, rng)
    device.load(model)
    whole = device.infer(pixels, 7, 5, logits=True)
    shards = [device.infer(pixels, count, 5, logits=True, first=first) for first, count in ((0, 3), (3, 4))]
    np.testing.assert_array_equal(whole.logits, np.concatenate([shard.logits for shard in shards]))
    np.testing.assert_array_equal(whole.votes, sum(shard.votes for shard in shards))


def test_words_that_are_too_long_are_refused(device: Accelerator) -> None:
    model = random_network(np.random.default_rng(4), (100, 60, 5), bits=5)
    with pytest.raises(SynflipError, match="5-bit probability words, the accelerator 4"):
        device.load(model)


@pytest.mark.nightly
def test_junctions_do_not_make_the_same_keys_twice() -> None:
    """With the host's keys their accelerator runs networks in parts as others do."""
    model = small_convolutional_network()
    pixels = images(2, model, np.random.default_rng(7))
    with open_verilator(JUNCTIONS, say=lambda text: None) as device:
        device.load(model)
        with pytest.raises(SynflipError, match=r"runs in parts.*give the keys"):
            device.infer(pixels, 2, 1)
        keys = InferenceRequest(model, pixels, 2, 8).sample_keys
        have = device.infer(pixels, 2, 0, logits=True, keys=keys)
    with Golden() as golden:
        golden.load(model)
        np.testing.assert_array_equal(have.logits, golden.infer(pixels, 2, 8, logits=True).logits)


@pytest.mark.slow
def test_a_network_of_670_000_synapses_on_16x1() -> None:
    """784-512-512-10 at k = 4 on an accelerator with room for 40,960."""
    rng = np.random.default_rng(8)
    model = random_network(rng, (784, 512, 512, 10), shift=8)
    machine = small(Geometry(16, 1))
    with open_verilator(machine, say=lambda text: None) as device:
        check(device, model, images(3, model, rng), 2, 8, np.array([2, 2]))


@pytest.mark.slow
def test_the_convolutional_network_for_cifar_10_on_16x2() -> None:
    """32x32x3-32-64-128 with pools, 256, 128, 10."""
    rng = np.random.default_rng(9)
    places = [
        Convolution((side, side, channels), (3, 3), pad=(1, 1), pool=(2, 2))
        for side, channels in ((32, 3), (16, 32), (8, 64))
    ]
    layers = [
        convolution_layer(rng, outputs, place) for outputs, place in zip((32, 64, 128), places, strict=True)
    ]
    model = CompiledModel(
        (*layers, *random_layers(rng, (2048, 256, 128, 10))),
        4,
        8,
        (6, 7, 7, 8, 7),
        tuple("0123456789"),
        255,
    )
    with open_verilator(Geometry(16, 2), say=lambda text: None) as device:
        check(device, model, images(1, model, rng, 0.9), 1, 9)
