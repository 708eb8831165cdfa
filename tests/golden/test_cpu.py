"""The golden model against the contract read loop by loop (``reference``), and against numbers by hand."""

from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from synflip.errors import SynflipError
from synflip.golden import cpu
from synflip.golden.cpu import Golden
from synflip.inference.result import Result
from synflip.spec.geometry import Geometry
from synflip.spec.model import CompiledModel, Layer

from tests.golden import reference

SEEDS = (0, 1, 2**32 - 1, 2**63, 2**64 - 1)
GEOMETRY = Geometry(bits=16)


def network(
    sizes: list[int],
    bits: int = 4,
    activation_bits: int = 8,
    shifts: list[int] | None = None,
    draw: int = 0,
    q: int | None = None,
    bias: int = 20,
    input_max: int | None = None,
) -> CompiledModel:
    """A random network whose pixels are its activations. ``q``: the same probability word everywhere."""
    numbers = np.random.default_rng(draw)
    layers = []
    for rows, outputs in pairwise(sizes):
        words = numbers.integers(0, 2**bits, (outputs, rows))
        extremes = numbers.random((outputs, rows))
        words = np.where(extremes < 0.1, 0, np.where(extremes > 0.9, 2**bits - 1, words))
        layers.append(
            Layer(
                (words if q is None else np.full_like(words, q)).astype(np.uint16),
                numbers.integers(0, 2, (outputs, rows)).astype(np.uint8),
                numbers.integers(-bias, bias + 1, outputs).astype(np.int32),
            )
        )
    # Halving the spread of a sum leaves hidden activations neither all zero nor all at the limit.
    default = [max(int(np.log2(rows)) // 2, 0) for rows in sizes[1:-1]]
    return CompiledModel(
        layers=tuple(layers),
        bits=bits,
        activation_bits=activation_bits,
        shifts=tuple(default if shifts is None else shifts),
        classes=tuple(str(c) for c in range(sizes[-1])),
        input_max=2**activation_bits - 1 if input_max is None else input_max,
    )


def images(model: CompiledModel, count: int, draw: int = 0, zeros: float = 0.3) -> np.ndarray:
    numbers = np.random.default_rng(draw)
    pixels = numbers.integers(0, model.input_max + 1, (count, model.inputs))
    return np.where(numbers.random(pixels.shape) < zeros, 0, pixels)


def infer(model: CompiledModel, pixels: Any, samples: int, seed: int, **other: Any) -> Result:
    with Golden(GEOMETRY) as device:
        device.load(model)
        return device.infer(pixels, samples, seed, **other)


def expected(
    model: CompiledModel, activations: Any, samples: int, seed: int, margins: Any = None
) -> reference.Outcome:
    return reference.run(
        [(layer.q, layer.sign, layer.bias) for layer in model.layers],
        model.bits,
        model.activation_bits,
        model.shifts,
        activations,
        samples,
        seed,
        margins,
        [layer.metadata() for layer in model.layers],
    )


def equal(result: Result, outcome: reference.Outcome) -> None:
    assert result.logits is not None
    assert result.logits.dtype == np.int32
    assert result.logits.tolist() == outcome.logits
    same_counts(result, outcome)


def same_counts(result: Result, outcome: reference.Outcome) -> None:
    assert (result.votes.dtype, result.logit_sums.dtype, result.used.dtype) == (np.int32, np.int64, np.int32)
    assert result.votes.tolist() == outcome.votes
    assert result.logit_sums.tolist() == outcome.logit_sums
    assert result.used.tolist() == outcome.used


def check(model: CompiledModel, pixels: np.ndarray, samples: int, seed: int, margins: Any = None) -> Result:
    """Golden equals the reference in every number; the model's pixels are its activations."""
    table = None if margins is None else np.array(margins)
    result = infer(model, pixels, samples, seed, margin=table, logits=True)
    outcome = expected(model, pixels, samples, seed, margins)
    equal(result, outcome)
    without = infer(model, pixels, samples, seed, margin=table)
    assert without.logits is None
    same_counts(without, outcome)
    assert without.votes.sum(1).tolist() == without.used.tolist()
    return result


# The reference itself, in the few places where its own loops could hide a mistake.


def test_reference_numbers_its_keys_as_the_contract_does() -> None:
    """3 rows pad to 8 and 1 to 8, so R = 16 and layer 1 begins at key 8: all written out, key by key."""
    q0, q1, x, seed, k = [11, 6, 9], 12, [200, 100, 30], 5, 4
    outcome = reference.run(
        [([q0], [[0, 1, 0]], [7]), ([[q1]], [[1]], [-2])], k, 8, [1], [x], samples=4, seed=seed
    )
    faces = set()
    for s in range(4):
        a, b, c = (reference.coin(reference.key(seed, 16 * s + i), 0, q0[i], k) for i in range(3))
        d = reference.coin(reference.key(seed, 16 * s + 8), 0, q1, k)
        y = min(max((7 + 200 * a - 100 * b + 30 * c + 1) >> 1, 0), 255)
        assert outcome.logits[s] == [[-2 - y * d]]
        assert outcome.activations[s] == [[x, [y]]]
        faces.add((a, b, c, d))
    assert len(faces) > 1  # some coin differed from sample to sample, or this would show nothing


def test_reference_ties_and_leads_by_hand() -> None:
    assert reference.argmax([3, 9, 9, 1]) == 1
    assert reference.argmax([-5, -5]) == 0
    assert reference.lead([3, 9, 7]) == 2
    assert reference.lead([4, 4]) == 0
    assert reference.lead([4]) == 4


# Results known by hand: no randomness is left where every coin is certain.


def constant(q: int, biases: list[int], rows: int = 6) -> CompiledModel:
    made = network([rows, len(biases)], q=q)
    return CompiledModel(
        layers=(Layer(made.layers[0].q, made.layers[0].sign, np.array(biases, np.int32)),),
        bits=4,
        activation_bits=8,
        shifts=(),
        classes=made.classes,
        input_max=255,
    )


@pytest.mark.parametrize("bits", range(1, 17))
def test_coins_that_always_come_up_make_an_ordinary_network(bits: int) -> None:
    model = network([20, 33, 5], bits, q=2**bits - 1, shifts=[2])
    pixels = images(model, 4)
    result = check(model, pixels, 3, seed=bits)
    first, last = model.layers
    hidden = np.clip((pixels @ (1 - 2 * first.sign.T.astype(int)) + first.bias + 2) // 4, 0, 255)
    logits = hidden @ (1 - 2 * last.sign.T.astype(int)) + last.bias
    assert result.logits is not None
    assert (result.logits == logits[None]).all()
    assert (result.logit_sums == 3 * logits).all()


@pytest.mark.parametrize("bits", [1, 4, 16])
def test_coins_that_never_come_up_leave_the_biases(bits: int) -> None:
    model = network([20, 7, 5], bits, q=0, shifts=[0])
    result = check(model, images(model, 3), 2, seed=1)
    assert result.logits is not None
    assert (result.logits == model.layers[1].bias).all()


def test_images_of_zeros_leave_the_biases() -> None:
    model = network([20, 5])
    result = check(model, np.zeros((3, 20), np.uint8), 4, seed=9)
    assert (result.logit_sums == 4 * model.layers[0].bias).all()


@pytest.mark.parametrize(
    ("biases", "winner"), [([3, 7, 7], 1), ([5, 5, 5], 0), ([-1, -1, -2], 0), ([-9, -8, -7, -7], 2)]
)
def test_ties_go_to_the_lowest_index(biases: list[int], winner: int) -> None:
    votes = check(constant(0, biases), np.ones((2, 6), np.uint8), 5, seed=0).votes
    assert votes.tolist() == [[5 if c == winner else 0 for c in range(len(biases))]] * 2


@pytest.mark.parametrize(
    ("margins", "used"),
    [
        # The winner gets every vote: after sample s it leads by s + 1.
        ([0, 0, 0, 0, 0, 0], 1),
        ([1, 9, 9, 9, 9, 9], 1),
        ([2, 2, 2, 2, 2, 2], 2),
        ([5, 5, 2, 0, 0, 0], 3),
        ([9, 9, 9, 9, 9, 6], 6),  # leaves at the last sample
        ([9, 9, 9, 9, 9, 7], 6),  # never leaves
        ([2, 3, 4, 5, 6, 7], 6),
        ([2**31 - 1] * 6, 6),
    ],
)
def test_margins_by_hand(margins: list[int], used: int) -> None:
    result = check(constant(0, [1, 2, 0]), np.ones((2, 6), np.uint8), 6, seed=0, margins=margins)
    assert result.used.tolist() == [used, used]
    assert result.votes.tolist() == [[0, used, 0]] * 2
    assert result.logit_sums.tolist() == [[used, 2 * used, 0]] * 2
    assert result.logits is not None
    assert (result.logits[used:] == 0).all()


def test_margins_beyond_63_bits_are_never_reached() -> None:
    margins = np.full(4, 2**64 - 1, np.uint64)
    result = infer(constant(0, [1, 2]), np.ones((1, 6), np.uint8), 4, seed=0, margin=margins)
    assert result.used.tolist() == [4]


def test_sums_beyond_32_bits() -> None:
    high, low = 2**31 - 1 - 6 * 255, -(2**31) + 6 * 255
    result = check(constant(7, [high, low, 0]), np.full((1, 6), 255), 5, seed=3)
    assert result.logit_sums[0, 0] > 2**32
    assert result.logit_sums[0, 1] < -(2**32)


# Against the reference: chosen for what the golden model could get wrong.


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("bits", [1, 2, 7, 8, 9, 15, 16])
def test_seeds_and_bits(bits: int, seed: int) -> None:
    model = network([11, 9, 4], bits, draw=bits)
    check(model, images(model, 2, draw=bits), 3, seed)


@pytest.mark.parametrize("activation_bits", range(1, 9))
def test_activation_bits(activation_bits: int) -> None:
    model = network([13, 12, 11, 3], 4, activation_bits, shifts=[0, 1], bias=3, draw=activation_bits)
    check(model, images(model, 3, draw=activation_bits), 3, seed=activation_bits)


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 31, 32, 33, 63, 64, 65, 127, 128, 129])
def test_rows_around_words_and_padding(rows: int) -> None:
    """Layer 1's keys come after layer 0's padding."""
    model = network([rows, 3, 2], 3, shifts=[2], draw=rows)
    check(model, images(model, 2, draw=rows), 3, seed=rows)


@pytest.mark.parametrize("outputs", [1, 2, 15, 16, 17, 31, 32, 33, 80, 257])
def test_outputs_around_tiles(outputs: int) -> None:
    """From 17 outputs on, the key turns."""
    model = network([3, outputs, 2], 5, shifts=[1], draw=outputs)
    check(model, images(model, 2, draw=outputs, zeros=0), 2, seed=outputs)


def test_1024_outputs() -> None:
    """The key turns 63 times, in a last layer and in a hidden one."""
    last = network([3, 1024], 16)
    check(last, images(last, 2, zeros=0), 2, seed=1)
    hidden = network([2, 1024, 2], 2, shifts=[0])
    check(hidden, images(hidden, 1, zeros=0), 1, seed=2)


@pytest.mark.parametrize("shift", [0, 1, 2, 5, 8, 12, 31])
def test_shifts(shift: int) -> None:
    """From all hidden activations at the limit to all zero."""
    model = network([40, 20, 3], 8, shifts=[shift], draw=shift)
    check(model, images(model, 2, draw=shift, zeros=0), 3, seed=shift)


def test_rounding_at_the_edge_of_32_bits() -> None:
    made = network([4, 2, 2], shifts=[31])
    edge = 2**31 - 1 - 2**30 - 4 * 255
    first = Layer(made.layers[0].q, made.layers[0].sign, np.array([edge, -(2**31) + 4 * 255], np.int32))
    model = CompiledModel((first, made.layers[1]), 4, 8, (31,), made.classes, 255)
    check(model, images(model, 2, zeros=0), 3, seed=8)


def test_many_rows_of_the_largest_activation() -> None:
    """300 rows of 255, all of one sign: far beyond 16 bits."""
    made = network([300, 2], 2, q=3)
    sign = np.stack([np.zeros(300), np.ones(300)]).astype(np.uint8)
    model = CompiledModel((Layer(made.layers[0].q, sign, np.zeros(2, np.int32)),), 2, 8, (), ("a", "b"), 255)
    result = check(model, np.full((1, 300), 255), 2, seed=0)
    assert result.logit_sums.tolist() == [[2 * 76500, -2 * 76500]]


@pytest.mark.parametrize("count", [0, 1, 2, 5, 17])
def test_batch_sizes(count: int) -> None:
    model = network([9, 8, 3], 4, draw=1)
    result = check(model, images(model, count, draw=count), 2, seed=4)
    assert result.votes.shape == (count, 3)


def test_eight_layers() -> None:
    model = network([6] * 9, 3, 4, shifts=[1] * 7, bias=8)
    check(model, images(model, 3), 3, seed=6)


def test_pixels_are_scaled_before_they_are_activations() -> None:
    """0..255 to 0..15, the nearest: in exact fractions, not by the model's own table."""
    model = network([16, 6, 3], 4, 4, shifts=[1], input_max=255)
    pixels = images(model, 4, zeros=0.1)
    activations = [[int(Fraction(int(p) * 15, 255) + Fraction(1, 2)) for p in image] for image in pixels]
    equal(infer(model, pixels.astype(np.uint8), 3, 5, logits=True), expected(model, activations, 3, 5))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int64])
def test_the_type_of_the_pixels_does_not_matter(dtype: type) -> None:
    model = network([16, 3])
    pixels = images(model, 2)
    equal(infer(model, pixels.astype(dtype), 2, 5, logits=True), expected(model, pixels, 2, 5))


def test_pixels_need_not_be_contiguous_and_stay_as_they_were() -> None:
    model = network([16, 9, 3])
    pixels = np.asfortranarray(images(model, 4).astype(np.uint8))[::-1]
    before = pixels.copy()
    pixels.setflags(write=False)
    equal(infer(model, pixels, 2, 5, logits=True), expected(model, before, 2, 5))
    assert (pixels == before).all()


@st.composite
def networks(draw: st.DrawFn) -> CompiledModel:
    """1 to 4 layers. Few synapses a network, for the reference's sake; shapes of all kinds."""
    bits = draw(st.integers(1, 16))
    activation_bits = draw(st.integers(1, 8))
    size = st.integers(1, 12) | st.integers(1, 40)
    sizes = draw(st.lists(size, min_size=2, max_size=5))
    return network(
        sizes,
        bits,
        activation_bits,
        shifts=[draw(st.integers(0, activation_bits + 3)) for _ in sizes[2:]],
        draw=draw(st.integers(0, 2**32)),
        q=draw(st.none() | st.none() | st.integers(0, 2**bits - 1)),
        bias=draw(st.sampled_from([0, 1, 2**activation_bits, 10 * 2**activation_bits])),
    )


@given(networks(), st.data())
@settings(max_examples=60, deadline=None)
def test_random_networks(model: CompiledModel, data: st.DataObject) -> None:
    seed = data.draw(st.sampled_from(SEEDS) | st.integers(0, 2**64 - 1))
    samples = data.draw(st.integers(1, 4))
    margins = data.draw(st.none() | st.lists(st.integers(0, 4), min_size=samples, max_size=samples))
    pixels = images(
        model,
        data.draw(st.integers(1, 5)),
        draw=data.draw(st.integers(0, 2**32)),
        zeros=data.draw(st.sampled_from([0, 0.3, 0.9, 1])),
    )
    check(model, pixels, samples, seed, margins)


@given(st.integers(0, 2**32), st.lists(st.integers(0, 6), min_size=12, max_size=12))
@settings(max_examples=25, deadline=None)
def test_random_margins(draw: int, margins: list[int]) -> None:
    """More samples than above, in a network that cannot make up its mind: images leave at different times."""
    model = network([6, 3], 2, 2, draw=draw, bias=1)
    check(model, images(model, 6, draw=draw), 12, seed=draw, margins=margins)


# A network sample is a pure function of (model, seed, sample number).

UNSURE = network([12, 10, 4], 3, draw=3, bias=5)
PIXELS = images(UNSURE, 7, draw=3)
MARGINS = np.array([3, 3, 3, 2, 2, 2, 1, 1, 1, 1])


def test_images_leave_at_different_times() -> None:
    """What makes the next tests worth something: margins that part the batch."""
    used = infer(UNSURE, PIXELS, 10, 2, margin=MARGINS).used
    assert len(set(used.tolist())) > 1


@pytest.mark.parametrize("margins", [None, MARGINS])
def test_an_image_s_result_does_not_depend_on_its_batch(margins: np.ndarray | None) -> None:
    whole = infer(UNSURE, PIXELS, 10, 2, margin=margins, logits=True)
    assert whole.logits is not None
    for chosen in ([0], [6], [3, 1], [6, 5, 4, 3, 2, 1, 0], [2, 2, 2], [1, 4]):
        part = infer(UNSURE, PIXELS[chosen], 10, 2, margin=margins, logits=True)
        assert part.logits is not None
        assert part.votes.tolist() == whole.votes[chosen].tolist()
        assert part.logit_sums.tolist() == whole.logit_sums[chosen].tolist()
        assert part.used.tolist() == whole.used[chosen].tolist()
        assert part.logits.tolist() == whole.logits[:, chosen].tolist()


def test_fewer_samples_are_the_first_samples() -> None:
    whole = infer(UNSURE, PIXELS, 10, 2, logits=True).logits
    assert whole is not None
    for samples in range(1, 10):
        part = infer(UNSURE, PIXELS, samples, 2, logits=True)
        assert part.logits is not None
        assert part.logits.tolist() == whole[:samples].tolist()
        assert part.logit_sums.tolist() == whole[:samples].sum(0, dtype=np.int64).tolist()


def test_an_image_does_not_change_the_coins_of_another_sample_s_network() -> None:
    """With margins an image's logits are those without, until it leaves."""
    free = infer(UNSURE, PIXELS, 10, 2, logits=True).logits
    held = infer(UNSURE, PIXELS, 10, 2, margin=MARGINS, logits=True)
    assert free is not None
    assert held.logits is not None
    for n, used in enumerate(held.used.tolist()):
        assert held.logits[:used, n].tolist() == free[:used, n].tolist()
        assert (held.logits[used:, n] == 0).all()


def test_seeds_differ() -> None:
    first, second = (infer(UNSURE, PIXELS, 10, seed, logits=True).logits for seed in (2, 3))
    assert first is not None
    assert second is not None
    assert first.tolist() != second.tolist()


@pytest.mark.parametrize("margins", [None, MARGINS])
def test_memory_limits_do_not_show(monkeypatch: pytest.MonkeyPatch, margins: np.ndarray | None) -> None:
    """Keys made a sample or three at a time, images taken two at a time: the same counts."""
    outcome = expected(UNSURE, PIXELS, 10, 2, margins)
    for keys_at_once, images_at_once in ((1, 2), (3 * 32, 1), (1 << 18, 3)):
        monkeypatch.setattr(cpu, "KEYS_AT_ONCE", keys_at_once)
        monkeypatch.setattr(cpu, "images_at_once", lambda width, count=images_at_once: count)
        equal(infer(UNSURE, PIXELS, 10, 2, margin=margins, logits=True), outcome)


@pytest.mark.parametrize(("lanes", "banks"), [(16, 1), (32, 2), (128, 8), (16, 4)])
def test_counts_do_not_depend_on_the_geometry(lanes: int, banks: int) -> None:
    with Golden(Geometry(lanes=lanes, banks=banks, bits=3)) as device:
        device.load(UNSURE)
        equal(
            device.infer(PIXELS, 10, 2, margin=MARGINS, logits=True),
            expected(UNSURE, PIXELS, 10, 2, MARGINS),
        )


def test_a_model_that_fits_no_accelerator_still_runs() -> None:
    """The golden model is software: only the cycles are missing."""
    with Golden(Geometry(bits=1)) as device:
        device.load(UNSURE)
        equal(device.infer(PIXELS, 2, 2, logits=True), expected(UNSURE, PIXELS, 2, 2))


def test_loading_replaces_the_model() -> None:
    other = network([5, 2], 7, 2, draw=9)
    with Golden(GEOMETRY) as device:
        for model in (UNSURE, other, UNSURE):
            device.load(model)
            pixels = images(model, 2, draw=1)
            for _ in range(2):  # nothing is left over from the run before, either
                equal(device.infer(pixels, 3, 7, logits=True), expected(model, pixels, 3, 7))


def test_progress_runs_to_its_end() -> None:
    calls: list[tuple[int, int]] = []
    infer(UNSURE, PIXELS, 5, 2, progress=lambda done, total: calls.append((done, total)))
    done = [call[0] for call in calls]
    assert {call[1] for call in calls} == {5 * 7}
    assert done == sorted(done)
    assert done[-1] == 5 * 7


# What cannot be asked.


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"pixels": PIXELS[:, :-1]}, ["[7, 11]", "[N, 12]"]),
        ({"pixels": PIXELS[0]}, ["[12]", "[N, 12]"]),
        ({"pixels": PIXELS / 255}, ["float64"]),
        ({"pixels": PIXELS.astype(np.int64) + 1000}, ["pixel 0 of image 0", "0..255"]),
        ({"pixels": PIXELS.astype(np.int64) - 1000}, ["pixel 0 of image 0", "0..255"]),
        ({"samples": 0}, ["samples", "0"]),
        ({"samples": -1}, ["samples", "-1"]),
        ({"samples": 2**31}, ["samples", str(2**31)]),
        ({"seed": -1}, ["seed", "-1"]),
        ({"seed": 2**64}, ["seed", str(2**64)]),
        ({"margin": MARGINS[:-1]}, ["margins", "10", "[9]"]),
        ({"margin": np.append(MARGINS, 1)}, ["margins", "10", "[11]"]),
        ({"margin": MARGINS[:, None]}, ["margins", "[10, 1]"]),
        ({"margin": np.array(3)}, ["margins", "[]"]),
        ({"margin": MARGINS / 2}, ["margins", "float64"]),
        ({"margin": np.full(10, np.nan)}, ["margins", "float64"]),
        ({"margin": np.where(np.arange(10) == 4, -1, MARGINS)}, ["margin", "4", "-1"]),
    ],
)
def test_bad_requests_are_refused_in_one_line(request_: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(SynflipError) as error:
        infer(UNSURE, **({"pixels": PIXELS, "samples": 10, "seed": 2, "margin": MARGINS} | request_))
    message = str(error.value)
    assert message.isprintable()
    for word in words:
        assert word in message


def test_nothing_runs_before_a_model_is_loaded() -> None:
    with Golden(GEOMETRY) as device, pytest.raises(SynflipError, match="no model"):
        device.infer(PIXELS, 1, 0)


def test_one_margin_for_all_samples() -> None:
    for margin in (0, 2, 10**30):
        table = np.full(10, min(margin, 100))
        one, many = infer(UNSURE, PIXELS, 10, 2, margin=margin), infer(UNSURE, PIXELS, 10, 2, margin=table)
        assert one.used.tolist() == many.used.tolist()
        np.testing.assert_array_equal(one.votes, many.votes)


def test_a_stream_of_blocks() -> None:
    with Golden(GEOMETRY) as device:
        device.load(UNSURE)
        whole = device.infer(PIXELS, 10, 2)
        blocks = iter((PIXELS[:3], PIXELS[3:4], PIXELS[4:4], PIXELS[4:]))
        parts = list(device.stream(blocks, 10, 2))
    np.testing.assert_array_equal(np.concatenate([part.votes for part in parts]), whole.votes)


@pytest.mark.parametrize("threads", [1, 3])
def test_blocks_and_threads_change_nothing(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    """Each thread takes blocks of images; torch has as many threads afterwards as before."""
    monkeypatch.setattr(cpu, "IMAGES_IN_CACHE", 4)
    model = network([20, 40, 17, 7])
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        check(model, images(model, 19), 3, 1)
        check(model, images(model, 19), 6, 1, [2] * 6)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
