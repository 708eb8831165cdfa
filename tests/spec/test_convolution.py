"""Convolutions of version 2 of the contract: their sizes, how they follow each other, what is refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from synflip.errors import SynflipError
from synflip.spec.convolution import Convolution
from synflip.spec.model import CompiledModel, Layer, sum_bounds
from synflip.spec.sizes import MAX_LAYERS

from tests.networks import small_convolutional_network
from tests.spec.models import layer, one_line


@pytest.mark.parametrize(
    ("fields", "positions", "output"),
    [
        ({"input": (28, 28, 1), "kernel": (3, 3)}, (26, 26), (26, 26)),
        ({"input": (28, 28, 1), "kernel": (3, 3), "pad": (1, 1), "pool": (2, 2)}, (28, 28), (14, 14)),
        ({"input": (29, 27, 8), "kernel": (3, 2), "pool": (2, 4)}, (27, 26), (13, 6)),
        ({"input": (7, 9, 3), "kernel": (2, 3), "stride": (2, 3), "pad": (0, 1)}, (3, 3), (3, 3)),
        ({"input": (1, 1, 1), "kernel": (7, 7), "pad": (3, 3)}, (1, 1), (1, 1)),
        ({"input": (256, 256, 1), "kernel": (1, 1), "stride": (256, 256)}, (1, 1), (1, 1)),
    ],
)
def test_sizes_of_a_convolution(fields: dict[str, Any], positions: Any, output: Any) -> None:
    made = Convolution(**fields)
    assert made.positions == positions
    assert made.output == output
    assert made.rows == made.kernel[0] * made.kernel[1] * made.input[2]
    assert Convolution.from_metadata(made.metadata()) == made


SOUND = {"input": (8, 8, 4), "kernel": (3, 3)}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"input": (0, 8, 4)}, ["`input`", "height", "1..256"]),
        ({"input": (257, 8, 4)}, ["`input`", "height", "257"]),
        ({"input": (8, 257, 4)}, ["`input`", "width", "257"]),
        ({"input": (8, 8, 0)}, ["`input`", "channels"]),
        ({"input": (8, 8, 2**64), "kernel": (1, 1)}, ["`input`", "channels", str(2**64)]),
        ({"input": (8, 8, 65536), "kernel": (1, 2)}, ["131072 rows", "65536"]),
        ({"input": (8, 8)}, ["`input`", "3 integers"]),
        ({"input": (8, 8, 4, 1)}, ["`input`", "3 integers"]),
        ({"input": [8, 8, 4]}, ["`input`", "3 integers"]),
        ({"input": (8.0, 8, 4)}, ["`input`", "height", "8.0"]),
        ({"input": (True, 8, 4)}, ["`input`", "height", "True"]),
        ({"input": ("8", 8, 4)}, ["`input`", "height", "'8'"]),
        ({"kernel": (8, 3)}, ["`kernel`", "height", "1..7"]),
        ({"kernel": (3, 0)}, ["`kernel`", "width", "1..7"]),
        ({"kernel": (3, -1)}, ["`kernel`", "width", "-1"]),
        ({"kernel": (float("nan"), 3)}, ["`kernel`", "height", "nan"]),
        ({"kernel": 3}, ["`kernel`", "2 integers"]),
        ({"stride": (0, 1)}, ["`stride`", "down"]),
        ({"stride": (1, 257)}, ["`stride`", "across"]),
        ({"pad": (-1, 0)}, ["`pad`", "above"]),
        ({"pad": (0, 2**31)}, ["`pad`", "left", str(2**31)]),
        ({"pool": (5, 1)}, ["`pool`", "height", "1..4"]),
        ({"pool": (1, 0)}, ["`pool`", "width"]),
        ({"input": (2, 8, 4)}, ["kernel 3x3", "high", "2"]),
        ({"input": (8, 2, 4)}, ["kernel 3x3", "wide", "2"]),
        ({"input": (4, 8, 4), "pool": (3, 1)}, ["window of 3x1", "2x6 positions"]),
    ],
)
def test_sizes_beyond_the_contract(fields: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(SynflipError) as error:
        Convolution(**(SOUND | fields))
    one_line(str(error.value), *words)


def test_what_a_convolutional_model_says_of_itself() -> None:
    made = small_convolutional_network()
    assert made.version == 2
    assert made.convolutional
    assert made.shape == "5x4x2-3(3x3, pad 1x1, pool 2x2)-4(2x1)-3"
    assert made.inputs == 40
    assert made.rows == (18, 6, 8)
    assert [item.width for item in made.layers] == [12, 8, 3]
    assert "18 inputs" in repr(made.layers[0])


def test_version_2_is_for_what_version_1_lacks() -> None:
    def deep(count: int) -> CompiledModel:
        return CompiledModel(tuple(layer(1, 1) for _ in range(count)), 4, 8, (0,) * (count - 1), ("c",), 255)

    assert deep(8).version == 1
    assert deep(9).version == 2
    assert deep(MAX_LAYERS).version == 2
    assert not deep(MAX_LAYERS).convolutional


def refused(*words: str, layers: tuple[Layer, ...], **other: Any) -> None:
    with pytest.raises(SynflipError) as error:
        small_convolutional_network(layers=layers, **other)
    one_line(str(error.value), *words)


def test_layers_that_do_not_follow_each_other() -> None:
    first, second, last = small_convolutional_network().layers
    refused("layer 2", "7 inputs", "8 outputs", layers=(first, second, layer(3, 7)))
    wrong = replace(second, convolution=Convolution((2, 3, 3), (2, 1)))
    refused("layer 1", "2x3x3", "2x2x3", layers=(first, wrong, last))
    swapped = replace(second, convolution=Convolution((2, 2, 2), (3, 1), pad=(1, 0)))
    refused("layer 1", "2x2x2", "2x2x3", layers=(first, swapped, last))
    refused("layer 1", "after a dense layer", layers=(layer(12, 40), second, last))
    last_convolution = Layer(*(getattr(layer(3, 8), part) for part in ("q", "sign", "bias")),
                             Convolution((2, 1, 4), (2, 1)))  # fmt: skip
    refused("layer 2", "last layer", layers=(first, second, last_convolution))


def test_a_kernel_has_the_rows_of_its_taps_and_channels() -> None:
    first, second, last = small_convolutional_network().layers
    refused("layer 0", "19 rows", "3x3 over 2 channels", "18", layers=(layer_of(first, 3, 19), second, last))
    refused("layer 1", "1025 outputs", layers=(first, layer_of(second, 1025, 6), layer(3, 2050)))


def layer_of(like: Layer, outputs: int, rows: int) -> Layer:
    made = layer(outputs, rows)
    return Layer(made.q, made.sign, made.bias, like.convolution)


def test_sums_of_a_kernel_fit_the_accumulator() -> None:
    """33000 rows of 255 are beyond 24 bits, for a kernel as for a dense layer; a coin less for each row too
    many is within."""
    place = Convolution((1, 1, 33000), (1, 1))
    made = Layer(np.ones((1, 33000), np.uint16), np.zeros((1, 33000), np.uint8), np.zeros(1, np.int32), place)
    refused("layer 0", "output 0", str(33000 * 255), "24-bit", layers=(made, layer(3, 1)), shifts=(0,))
    most = (2**23 - 1) // 255
    made.q[0, most:] = 0
    kept = small_convolutional_network(layers=(made, layer(3, 1)), shifts=(0,))
    assert sum_bounds(kept.layers[0], 255)[1].tolist() == [most * 255]


def test_images_are_flat_rows() -> None:
    made = small_convolutional_network()
    assert made.activations(np.full((2, 40), 255)).shape == (2, 40)
    with pytest.raises(SynflipError, match=r"\[2, 18\].*wants \[N, 40\]"):
        made.activations(np.zeros((2, 18), np.uint8))
