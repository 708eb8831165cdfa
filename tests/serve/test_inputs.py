"""What is asked for over HTTP, as the library takes it: pictures of every kind, rows of tables."""

from dataclasses import replace

import numpy as np
import pytest
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.serve.inputs import Picture, parse_row, row_text
from synflip.spec.convolution import Convolution
from synflip.spec.input_quantizer import Column, InputQuantizer
from synflip.spec.model import CompiledModel

from tests.networks import convolution_layer, random_layers, random_model, small_convolutional_network
from tests.serve.helpers import digits_model


def table_model() -> CompiledModel:
    """A network whose inputs are a number and a colour."""
    quantizer = InputQuantizer(
        np.zeros(3), np.ones(3), (1, 3), (Column("size"), Column("colour", ("blue", "red"))), "kind"
    )
    return replace(random_model((3, 20, 4)), input_quantizer=quantizer)


def test_pictures() -> None:
    assert Picture.of(digits_model()) == Picture(8, 8, 1, True, 16, light=True)
    rng = np.random.default_rng(0)
    first = convolution_layer(rng, 2, Convolution((4, 5, 3), (3, 3)))
    layers = (first, *random_layers(rng, (2 * 2 * 3, 3)))
    last = small_convolutional_network(layers=layers, shifts=(2,))
    assert Picture.of(last) == Picture(4, 5, 3, False, 255)
    assert Picture.of(replace(last, channels_first=True)) == Picture(4, 5, 3, True, 255)
    dense = replace(random_model((3072, 4)), source={"data": "cifar10"})
    assert Picture.of(dense) == Picture(32, 32, 3, True, 255)
    grey = small_convolutional_network(
        layers=(convolution_layer(rng, 2, Convolution((4, 5, 1), (3, 3))), *random_layers(rng, (12, 3))),
        shifts=(2,),
    )
    assert Picture.of(grey) == Picture(4, 5, 1, True, 255)
    two_channels = small_convolutional_network()
    for other in (two_channels, table_model(), random_model()):
        assert Picture.of(other) is None


def test_pictures_of_which_the_model_does_not_say_the_shape() -> None:
    """Its test set does."""
    own = replace(random_model((12, 5)), source={"data": "mine"})
    assert Picture.of(own, (3, 4)) == Picture(3, 4, 1, True, 255)
    assert Picture.of(own, (3, 2, 2)) == Picture(2, 2, 3, True, 255)
    assert Picture.of(own, (1, 3, 4)) == Picture(3, 4, 1, True, 255)
    for shape in ((1, 12), (12, 1), (3, 5), (2, 2, 3), None):
        assert Picture.of(own, shape) is None


def test_pictures_of_features() -> None:
    low, high = np.linspace(-2, -1, 12), np.linspace(0.5, 3, 12)
    for shape, wanted in (((3, 4), (3, 4, 1)), ((3, 2, 2), (2, 2, 3))):
        model = replace(random_model((12, 5)), input_quantizer=InputQuantizer(low, high, shape))
        assert Picture.of(model) == Picture(*wanted, True, 3.0, -2.0, whole=False)
    row = replace(model, input_quantizer=InputQuantizer(low, high, (1, 12)))
    flat = replace(model, input_quantizer=InputQuantizer(np.ones(12), np.ones(12), (3, 4)))
    for other in (row, flat):
        assert Picture.of(other, (3, 4)) is None


@pytest.mark.parametrize(
    "text",
    [
        "0.25,red",
        "size,colour\n0.25,red",
        "colour,size\nred,0.25\n",
        '"0.25","red"',
        " 0.25, red",
        "0.25,0,1",
    ],
)
def test_rows_of_a_table(text: str) -> None:
    model = table_model()
    with Golden() as golden:
        golden.load(model)
        want = golden.infer([[0.25, 0, 1]], 8, 1).logit_sums
        np.testing.assert_array_equal(golden.infer(parse_row(text, model), 8, 1).logit_sums, want)
    assert row_text(np.array([0.25, 0, 1]), model) == "0.25,red"


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rows_of_a_test_set_are_read_as_they_are(dtype: type) -> None:
    """A number that is written with fewer digits is another one, and may be another pixel."""
    numbers = np.random.default_rng(7).normal(0, 1e3, (50, 3)).astype(dtype)
    unnamed = replace(table_model(), input_quantizer=InputQuantizer(np.zeros(3), np.ones(3), (1, 3)))
    for row in numbers:
        np.testing.assert_array_equal(np.asarray(parse_row(row_text(row, unnamed), unnamed))[0], row)
        named = np.asarray(parse_row(row_text(row, table_model()), table_model()))
        assert float(named[0, 0]) == float(row[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there are 0 lines"),
        ("1,red\n2,red\n3,red", "there are 3 lines"),
        ("size\n0.25,red", "2 values below 1 names"),
        ("0.25", "shape"),
        ("red,0.25", "where a number is wanted"),
        ("size,hue\n1,red", "lacks the column colour"),
        ("nan,red", "finite"),
        ('"0.25', "no line of comma-separated values"),
        ("a,b,c", "no number"),
    ],
)
def test_rows_that_make_no_sense(text: str, message: str) -> None:
    model = table_model()
    with Golden() as golden, pytest.raises(SynflipError, match=message):
        golden.load(model)
        golden.infer(parse_row(text, model), 1, 0)


def test_rows_of_pixels() -> None:
    model = random_model()  # nothing says that its 12 pixels are a picture
    row = parse_row(",".join(map(str, range(12))), model)
    with Golden() as golden:
        golden.load(model)
        np.testing.assert_array_equal(
            golden.infer(row, 4, 1).logit_sums, golden.infer([list(range(12))], 4, 1).logit_sums
        )
    assert row_text(np.arange(12), model) == "0,1,2,3,4,5,6,7,8,9,10,11"
    with pytest.raises(SynflipError, match="pixels are integers"), Golden() as golden:
        golden.load(model)
        golden.infer(parse_row("0.5" + ",0" * 11, model), 1, 0)
