"""How networks are cut into parts: nothing is missing, nothing twice, all of it fits, and what it costs."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.inference import parts
from synflip.inference.parts import Parts, cut, runs_of
from synflip.inference.plan import Plan
from synflip.inference.request import InferenceRequest
from synflip.inference.throughput import Traffic, shape_only
from synflip.spec.geometry import Geometry
from synflip.spec.model import CompiledModel, Layer, sum_bounds
from synflip.verification.cases import convolutional_model, draw_geometry

from tests.devices.test_parted import infer
from tests.networks import random_network, small_convolutional_network

#: Of the ULX3S at k = 4.
ULX3S = Geometry(
    64, 8, weight_depth=1024, event_depth=1024, key_depth=256, bias_depth=256, image_slots=8,
    result_depth=128, log_depth=512, margin_depth=512,
)  # fmt: skip
MNIST = shape_only([784, 512, 512], [512, 512, 10], 4)


def sketch(found: Parts) -> list[list[tuple[int, ...]]]:
    """Of each stage's parts: rows, first and past the last output, images of a run."""
    return [
        [(len(part.rows), part.outputs.start, part.outputs.stop, part.images) for part in stage.parts]
        for stage in found.stages
    ]


def test_a_network_that_is_too_large_for_a_ulx3s() -> None:
    """Layer 0 has 784 / 8 blocks of rows in 8 tiles: 784 of 1,024 entries; its 512 logits fill the log.
    Layers 1 and 2 have 64 * 8 + 64 = 576 entries."""
    found = cut(MNIST, ULX3S)
    assert [list(stage.layers) for stage in found.stages] == [[0], [1, 2]]
    assert sketch(found) == [[(784, 0, 512, 1)], [(512, 0, 10, 8)]]
    assert not found.resident and found.predictable


def test_few_inputs_go_to_parts_of_outputs_and_many_to_parts_of_rows() -> None:
    """A z is four bytes, an activation one, and an image of the first layer is written once."""
    few = cut(shape_only([16, 40, 200], [40, 200, 3], 4), Geometry(16, 1, weight_depth=340, layer_depth=1))
    assert sketch(few)[1] == [(40, 0, 112, 16), (40, 112, 200, 16)]
    many = cut(shape_only([16, 200, 40], [200, 40, 3], 4), Geometry(16, 1, weight_depth=340, layer_depth=1))
    assert sketch(many)[1] == [(112, 0, 40, 16), (88, 0, 40, 16)]


def test_a_network_that_fits_and_a_run_that_keeps_too_little() -> None:
    """More samples than margins, and than a run counts; logits that the log has no room for."""
    geometry = Geometry(16, 1, margin_depth=9, sample_bits=4, log_depth=6)
    model = random_network(np.random.default_rng(1), (20, 12, 7))
    pixels = np.ones((3, 20), dtype=np.uint8)
    for samples, margin, logits, parted in (
        (9, 2, False, False), (10, 2, False, True), (16, 2, False, True), (16, None, False, False),
        (1, None, True, True),
    ):  # fmt: skip
        request = InferenceRequest(model, pixels, samples, 1, margin, logits)
        runs = runs_of(request, geometry)
        assert isinstance(runs, Parts) == parted
        if isinstance(runs, Parts):
            assert [list(part.layers) for part in runs.parts] == [[0, 1]]
            with pytest.raises(SynflipError, match=r"samples in one run|the log holds 6"):
                runs_of(request, replace(geometry, devices=5))
            keys = np.zeros((samples, 40), dtype=np.uint64)
            assert isinstance(runs_of(replace(request, keys=keys), replace(geometry, devices=5)), Parts)


@given(st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_every_synapse_is_in_one_part(draw: int) -> None:
    rng = np.random.default_rng(draw)
    geometry = draw_geometry(rng)
    if rng.random() < 0.5:
        model = convolutional_model(geometry.bits, geometry.activation_bits, rng)
    else:
        sizes = rng.integers(1, 300, rng.integers(2, 10)).tolist()
        model = shape_only(sizes[:-1], sizes[1:], geometry.bits)
    try:
        found = cut(model, geometry)
    except SynflipError:
        assert max(geometry.log_depth, geometry.result_depth) < 16
        return
    seen: Counter[tuple[int, int, int]] = Counter()
    for part in found.parts:
        network = part.network(model)
        assert network.rows == tuple(part.row_counts(model))
        first, last = part.layers.start, part.layers[-1]
        for layer in part.layers:
            rows = part.rows if layer == first else range(model.rows[layer])
            outputs = part.outputs if layer == last else range(model.outputs[layer])
            seen.update((layer, row, output) for row in rows for output in outputs)
        entries, groups = part.entries(model, geometry)
        assert part.weight_base + entries <= geometry.weight_depth
        assert part.bias_base + groups <= geometry.bias_depth
        assert 1 <= part.images <= geometry.image_slots
    assert set(seen.values()) == {1}
    assert len(seen) == sum(layer.q.size for layer in model.layers)


def test_bounds_of_a_part_lie_within_those_of_the_whole() -> None:
    """So what holds every sum of the whole holds those of its parts."""
    model = random_network(np.random.default_rng(1), (300, 90, 5))
    for part in cut(model, Geometry(16, 1, key_depth=64, bias_depth=64)).parts:
        whole = model.layers[part.layers[-1]]
        outputs = slice(part.outputs.start, part.outputs.stop)
        least, most = (bound[outputs] for bound in sum_bounds(whole, 255))
        low, high = sum_bounds(part.network(model).layers[-1], 255)
        assert (least <= low).all() and (high <= most).all()


def test_the_largest_sums_there_may_be() -> None:
    """32,896 rows of 255, of one sign: 24 bits. The accumulators of 1,024 rows have 19."""
    rows = ((1 << 23) - 1) // 255
    always, sign = np.full((2, rows), 15, np.uint16), np.array([[0], [1]], np.uint8).repeat(rows, axis=1)
    model = CompiledModel((Layer(always, sign, np.array([5, -5], np.int32)),), 4, 8, (), ("a", "b"), 255)
    geometry = Geometry(16, 8, key_depth=128)
    assert geometry.accumulator_bits == 19
    have = infer(geometry, model, np.full((1, rows), 255, np.uint8), 1, 0)
    assert have.logit_sums.tolist() == [[255 * rows + 5, -255 * rows - 5]]


def test_what_is_refused() -> None:
    with pytest.raises(SynflipError, match=r"2-bit probability words, the accelerator 1: .*--bits 1"):
        cut(shape_only([5000], [3], 2), Geometry(16, 1, bits=1))
    with pytest.raises(SynflipError, match="8-bit activations, the accelerator 2"):
        cut(small_convolutional_network(), Geometry(16, 1, activation_bits=2))
    with pytest.raises(SynflipError, match=r"not even in parts: of layer 1 \(20 rows, 40 outputs\)") as error:
        cut(shape_only([9, 20], [20, 40], 2), Geometry(16, 1, layer_depth=1, log_depth=9, result_depth=9))
    assert "\n" not in str(error.value)


def test_runs_of_a_request() -> None:
    model = small_convolutional_network()
    request = InferenceRequest(model, np.zeros((2, 40), np.uint8), 3, 1)
    assert isinstance(runs_of(request, Geometry()), Parts)
    fitting = random_network(np.random.default_rng(1), (9, 5))
    assert isinstance(runs_of(InferenceRequest(fitting, np.zeros((2, 9), np.uint8), 3, 1), Geometry()), Plan)
    junctions = Geometry(devices=4)
    with pytest.raises(SynflipError, match=r"tunnel junctions do not make twice: give the keys"):
        runs_of(request, junctions)
    given_keys = InferenceRequest(model, request.pixels, 3, 1, keys=request.sample_keys)
    assert isinstance(runs_of(given_keys, junctions), Parts)


def test_blocks_of_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where images may leave they double, as far as memory allows."""
    found = cut(MNIST, ULX3S)
    sizes = [len(block) for block in found.sample_blocks(3, 20, early=True)]
    assert sizes == [1, 2, 4, 8, 5]
    assert [len(block) for block in found.sample_blocks(3, 20, early=False)] == [20]
    # Of an image in a network sample: 784 activations, 512 z and a count, 512 activations.
    monkeypatch.setattr(parts, "BLOCK_BYTES", 3 * 3 * (784 + 4 * 512 + 8 + 512))
    assert [len(block) for block in found.sample_blocks(3, 20, early=True)] == [1, 2, 3, 3, 3, 3, 3, 2]
    assert [block.start for block in found.image_blocks(20)] == [0, 9, 18]


def test_what_it_costs() -> None:
    """Two images in three samples. Layer 0 runs an image at a time, layers 1 and 2 both."""
    found = cut(MNIST, ULX3S)
    work = found.work(2, 3)
    first, second = found.parts
    assert work.runs == {(first, 1): 6, (second, 2): 3, (first, 0): 0, (second, 8): 0}
    assert work.images == {first: 2, second: 6}
    # A run: four words of seed a bank, its start, its status, its cycles, its logits.
    assert first.run(MNIST, ULX3S, 1, False) == Traffic(32 + 1 + 1 + 2 + 512, 5)
    assert second.run(MNIST, ULX3S, 2, True) == Traffic(32 + 1 + 1 + 2 + 20 + 2 * 1024, 9)
    # An entry is 64 lanes of 5 bits, 10 words in room for 16.
    assert first.loading(MNIST, ULX3S) == Traffic(8 * 784 * 16 + 512, 8 * 25 + 1)
    text = work.text(1_000_000)
    assert text.startswith("2 parts, 9 runs, at most ") and text.endswith(
        " s of a serial line at 1,000,000 baud"
    )
    assert work.traffic().seconds(1_000_000) > work.traffic().seconds() > 0
    assert work.seconds(100e6) == work.traffic().seconds() + work.most_cycles() / 100e6


def test_the_most_cycles_are_those_without_a_zero() -> None:
    model = random_network(np.random.default_rng(4), (40, 33, 3), shift=0, reach=1)
    loud = tuple(
        Layer(np.full_like(layer.q, 15), np.zeros_like(layer.sign), layer.bias + 1) for layer in model.layers
    )
    model = CompiledModel(loud, 4, 8, model.shifts, model.classes, 255)
    geometry = Geometry(16, 1, key_depth=24)
    with Golden(geometry) as golden:
        golden.load(model)
        result = golden.infer(np.full((5, 40), 255, np.uint8), 2, 1)
    assert cut(model, geometry).work(5, 2).most_cycles() == result.cycles
