"""The compiled model: what it says of itself, and that what cannot run exactly is refused in one line."""

import tracemalloc
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from synflip.errors import SynflipError
from synflip.spec.model import Layer
from synflip.spec.sizes import ACCUMULATOR_BITS, MAX_LAYERS

from tests.spec.models import layer, model, one_line, refused, single


def test_sizes_of_a_model() -> None:
    made = model()
    assert made.rows == (5, 3)
    assert made.outputs == (3, 2)
    assert made.shape == "5-3-2"
    assert made.activation_max == 7


@pytest.mark.parametrize("activation_bits", range(1, 9))
@pytest.mark.parametrize("input_max", [1, 7, 15, 16, 255, 1000, 65535])
def test_pixels_become_the_nearest_activations(activation_bits: int, input_max: int) -> None:
    """Every pixel: the nearest integer to pixel * (2**A - 1) / input_max, halves up; in exact fractions."""
    pixels = np.unique(np.linspace(0, input_max, 1500).astype(np.int64))
    made = model(
        **single(layer(1, len(pixels)), bits=1, activation_bits=activation_bits, input_max=input_max)
    )
    activations = made.activations(pixels[None])
    assert activations.dtype == np.uint8
    largest = 2**activation_bits - 1
    expected = [int(Fraction(p * largest, input_max) + Fraction(1, 2)) for p in pixels.tolist()]
    assert activations.tolist() == [expected]
    assert expected[0] == 0
    assert expected[-1] == largest


def test_what_a_model_is_checked_with_takes_no_more_than_the_model() -> None:
    """A file may have a GiB of synapses: two bytes of q and one of sign each."""
    made = layer(1000, 2000)
    tracemalloc.start()
    try:
        model(**single(made))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.5 * (made.q.nbytes + made.sign.nbytes)


def test_pixels_that_are_activations_already_stay() -> None:
    made = model(**single(layer(1, 256), bits=1, activation_bits=8, input_max=255))
    assert made.activations(np.arange(256, dtype=np.uint8)[None]).tolist() == [list(range(256))]


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (np.zeros((2, 4), np.uint8), ["[2, 4]", "[N, 5]", "5-3-2"]),
        (np.zeros(5, np.uint8), ["[5]", "[N, 5]"]),
        (np.zeros((1, 1, 5), np.uint8), ["[1, 1, 5]"]),
        (np.zeros((2, 5)), ["float64", "integers"]),
        (np.full((2, 5), np.nan), ["float64", "integers"]),
        (np.zeros((2, 5), bool), ["bool", "integers"]),
        (np.array([[0, 0, 0, 0, 0], [0, 255, 256, 0, 0]]), ["pixel 2 of image 1", "256", "0..255"]),
        (np.array([[0, 0, 0, 0, -1]]), ["pixel 4 of image 0", "-1"]),
    ],
)
def test_images_that_do_not_fit(pixels: np.ndarray, words: list[str]) -> None:
    with pytest.raises(SynflipError) as error:
        model().activations(pixels)
    one_line(str(error.value), *words)


@pytest.mark.parametrize("bits", [0, 17, -1, 2.0, "4", None, True])
def test_bits_out_of_range(bits: Any) -> None:
    refused("probability bits", "1..16", repr(bits), bits=bits)


@pytest.mark.parametrize("activation_bits", [0, 9, -3])
def test_activation_bits_out_of_range(activation_bits: int) -> None:
    refused("activation bits", "1..8", str(activation_bits), activation_bits=activation_bits)


@pytest.mark.parametrize("input_max", [0, 65536, -1, 0.5, None])
def test_largest_pixel_out_of_range(input_max: Any) -> None:
    refused("largest pixel", repr(input_max), input_max=input_max)


@pytest.mark.parametrize("shift", [-1, 32, 0.5, None])
def test_shift_out_of_range(shift: Any) -> None:
    refused("layer 0", "shift", "0..31", repr(shift), shifts=(shift,))


def test_shifts_at_the_limits_are_taken() -> None:
    assert model(shifts=(0,)).shifts == (0,)
    assert model(shifts=(31,)).shifts == (31,)


@pytest.mark.parametrize("shifts", [(), (1, 1)])
def test_a_shift_for_every_hidden_layer(shifts: tuple[int, ...]) -> None:
    refused(f"{len(shifts)} shifts", "2 layers", shifts=shifts)


@pytest.mark.parametrize("classes", [("one",), ("one", "two", "three"), ()])
def test_a_name_for_every_logit(classes: tuple[str, ...]) -> None:
    refused(f"{len(classes)} class names", "2 logits", classes=classes)


def test_number_of_layers() -> None:
    refused("number of layers", "0", layers=(), shifts=())
    many = MAX_LAYERS + 1
    refused(
        "number of layers",
        str(many),
        layers=tuple(layer(1, 1) for _ in range(many)),
        shifts=(0,) * (many - 1),
        classes=("c",),
    )


def test_at_most_1024_outputs() -> None:
    """1024 is proven for the coin taps; the layer is named, hidden or last."""
    assert model(**single(layer(1024, 2))).outputs == (1024,)
    refused("layer 0", "1025", "1024", **single(layer(1025, 2)))
    refused("layer 1", "1025", "1024", layers=(layer(3, 5), layer(1025, 3)), classes=("c",) * 1025)
    refused("layer 0", "1025", "1024", layers=(layer(1025, 5), layer(2, 1025)))


def test_a_layer_takes_what_the_one_before_gives() -> None:
    refused("layer 1", "4 inputs", "3 outputs", layers=(layer(3, 5), layer(2, 4)))


@pytest.mark.parametrize("bits", range(1, 16))
def test_probability_words_fit_k_bits(bits: int) -> None:
    largest = 2**bits - 1
    q = np.full((2, 3), largest, np.uint16)
    fields = {"bits": bits, "activation_bits": 1}
    whole = Layer(q, np.zeros((2, 3), np.uint8), np.zeros(2, np.int32))
    assert model(**single(whole, **fields)).bits == bits
    beyond = q.copy()
    beyond[1, 2] = largest + 1
    refused(
        "layer 0",
        "q[1, 2]",
        str(largest + 1),
        f"k = {bits}",
        **single(Layer(beyond, whole.sign, whole.bias), **fields),
    )


def test_a_sign_is_one_bit() -> None:
    sign = np.zeros((2, 3), np.uint8)
    sign[0, 1] = 2
    refused("layer 1", "sign[0, 1]", "2", layers=(layer(3, 5), Layer(layer(2, 3).q, sign, layer(2, 3).bias)))


@pytest.mark.parametrize(
    ("part", "tensor", "words"),
    [
        ("q", np.ones((2, 3), np.int32), ["q is int32", "uint16"]),
        ("q", np.ones((2, 3), np.float32), ["q is float32", "uint16"]),
        ("q", np.ones((2, 3), ">u2"), ["q is >u2", "uint16"]),
        ("sign", np.zeros((2, 3), np.int8), ["sign is int8", "uint8"]),
        ("sign", np.zeros((2, 3), bool), ["sign is bool", "uint8"]),
        ("bias", np.zeros(2, np.int64), ["bias is int64", "int32"]),
        ("bias", np.full(2, np.nan), ["bias is float64", "int32"]),
        ("q", np.ones(6, np.uint16), ["q has shape [6]"]),
        ("q", np.ones((2, 3, 1), np.uint16), ["q has shape [2, 3, 1]"]),
        ("q", np.ones((2, 0), np.uint16), ["q has shape [2, 0]"]),
        ("q", np.ones((0, 3), np.uint16), ["q has shape [0, 3]"]),
        ("sign", np.zeros((3, 2), np.uint8), ["sign has shape [3, 2]", "[2, 3]"]),
        ("bias", np.zeros(3, np.int32), ["bias has shape [3]", "[2]"]),
        ("bias", np.zeros((2, 1), np.int32), ["bias has shape [2, 1]", "[2]"]),
    ],
)
def test_types_and_shapes(part: str, tensor: np.ndarray, words: list[str]) -> None:
    parts = {"q": layer(2, 3).q, "sign": layer(2, 3).sign, "bias": layer(2, 3).bias} | {part: tensor}
    refused("layer 1", *words, layers=(layer(3, 5), Layer(**parts)))


HIGHEST_SUM = 2 ** (ACCUMULATOR_BITS - 1) - 1


LOWEST_SUM = -(2 ** (ACCUMULATOR_BITS - 1))


@pytest.mark.parametrize(
    ("sign", "rows", "beyond"),
    # The most rows of the largest activation, 255, that an accumulator can take; it holds one negative more.
    [(0, HIGHEST_SUM // 255, HIGHEST_SUM // 255 + 1), (1, -LOWEST_SUM // 255, -LOWEST_SUM // 255 + 1)],
)
def test_accumulators_that_could_overflow(sign: int, rows: int, beyond: int) -> None:
    assert model(**single(layer(2, rows, sign=sign), activation_bits=8)).rows == (rows,)
    made = layer(2, beyond, sign=sign)
    made.q[0, 0] = 0  # a synapse that never comes up adds nothing: output 0 just fits, output 1 does not
    extreme = (-1 if sign else 1) * beyond * 255
    refused("layer 0", "output 1", str(extreme), f"{ACCUMULATOR_BITS}-bit", **single(made, activation_bits=8))


def test_signs_on_both_sides_share_no_room() -> None:
    """Half the rows up, half down: each side alone counts, for the other may come up tails."""
    rows = HIGHEST_SUM // 255
    made = layer(1, 2 * rows)
    made.sign[:, rows:] = 1
    assert model(**single(made, activation_bits=8)).rows == (2 * rows,)
    made.sign[0, rows] = 0
    refused("layer 0", "output 0", str((rows + 1) * 255), **single(made, activation_bits=8))


def test_an_overflow_is_named_with_its_layer() -> None:
    # 1024 rows, the most after a hidden layer, cannot reach 24 bits; a bias can still reach 32.
    fields = {"bits": 4, "activation_bits": 8, "shifts": (0,), "classes": ("c",) * 3}
    made = layer(3, 1024)
    made.bias[2] = 2**31 - 1 - 1024 * 255
    assert model(layers=(layer(1024, 5), made), **fields).outputs == (1024, 3)
    made.bias[2] += 1
    refused("layer 1", "output 2", str(2**31), layers=(layer(1024, 5), made), **fields)
    made.bias[2] = 0
    made.bias[1] = -(2**31)
    assert model(layers=(layer(1024, 5), made), **fields).outputs == (1024, 3)
    made.sign[1, 0] = 1
    refused("layer 1", "output 1", str(-(2**31) - 255), layers=(layer(1024, 5), made), **fields)


@pytest.mark.parametrize("shift", [1, 8, 31])
def test_rounding_counts_towards_an_overflow(shift: int) -> None:
    """A hidden layer adds 2**(r-1) before it shifts."""
    rounding = 2 ** (shift - 1)
    room = 2**31 - 1 - rounding - 5 * 7  # five rows of A = 3 bits
    last = layer(2, 3)
    assert model(layers=(layer(3, 5, bias=room), last), shifts=(shift,)).shifts == (shift,)
    refused("layer 0", "output 0", str(2**31), layers=(layer(3, 5, bias=room + 1), last), shifts=(shift,))
