"""The compiler: the nearest value that k bits can write, and one line for what cannot be run exactly."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from synflip import modelfile
from synflip.compiler.compile import compile_layers, compile_network
from synflip.errors import SynflipError
from synflip.spec.coins import threshold
from synflip.spec.model import CompiledModel


def compiled(**other: Any) -> CompiledModel:
    """A sound network 4-3-2 with some arguments replaced."""
    arguments: dict[str, Any] = {
        "weights": [np.full((3, 4), 0.5), np.full((2, 3), -0.25)],
        "biases": [np.zeros(3), np.zeros(2)],
        "shifts": [2],
        "bits": 4,
        "activation_bits": 8,
        "classes": ["a", "b"],
        "input_max": 255,
    }
    return compile_layers(**(arguments | other))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_every_weight_becomes_the_nearest_value(bits: int) -> None:
    w = np.linspace(-1, 1, 2001).reshape(3, 667)
    layer = compiled(bits=bits, weights=[w], biases=[np.zeros(3)], shifts=[], classes="abc").layers[0]
    values = threshold(np.arange(1 << bits), bits) / (1 << bits)
    nearest = np.abs(np.abs(w)[..., None] - values[None, None]).min(2) if bits <= 8 else 1 / (1 << bits)
    error = np.abs(np.abs(w) - threshold(layer.q, bits) / (1 << bits))
    assert (error <= nearest + 1e-12).all()
    assert (threshold(layer.q, bits)[np.abs(w) == 1] == 1 << bits).all()
    assert np.array_equal(layer.sign == 1, (w < 0) & (layer.q > 0))


def test_what_never_comes_up_has_no_sign() -> None:
    layer = compiled(weights=[np.array([[-0.0, -0.01, 0.01, -0.1]])], biases=[[0]], shifts=[], classes="a")
    assert layer.layers[0].q.tolist() == [[0, 0, 0, 2]]
    assert layer.layers[0].sign.tolist() == [[0, 0, 0, 1]]


def test_biases_are_rounded() -> None:
    model = compiled(biases=[[1.4, -1.6, 2**31 - 2**25], [0.5, -0.5]])
    assert model.layers[0].bias.tolist() == [1, -2, 2**31 - 2**25]
    assert model.layers[1].bias.tolist() == [0, 0]


def test_lists_float32_and_the_file(tmp_path: Path) -> None:
    model = compiled(
        weights=[np.full((3, 4), 0.5, np.float32), [[-0.25] * 3] * 2],
        biases=[[0, 0, 0], (0, 0)],
        source={"a": 1},
    )
    assert model.shape == "4-3-2" and model.shifts == (2,) and model.source == {"a": 1}
    modelfile.save(model, tmp_path / "m.safetensors")
    again = modelfile.load(tmp_path / "m.safetensors")
    for one, other in zip(model.layers, again.layers, strict=True):
        assert np.array_equal(one.q, other.q) and np.array_equal(one.sign, other.sign)


def with_value(value: float) -> list[np.ndarray]:
    w = np.full((2, 3), -0.25)
    w[1, 2] = value
    return [np.full((3, 4), 0.5), w]


def test_numbers_and_weights_as_people_have_them() -> None:
    want = compile_layers([np.full((2, 3), 0.5)], [[1, 2]], [], 4, 8, ["a", "b"], 255)
    weight, bias = torch.nn.Parameter(torch.full((2, 3), 0.5)), torch.tensor([1.0, 2.0], requires_grad=True)
    four, eight, most = np.int64(4), np.uint8(8), np.int32(255)
    have = compile_layers([weight], [bias], [], four, eight, ["a", "b"], most)
    assert have.tensors().keys() == want.tensors().keys() and have.metadata() == want.metadata()
    assert all(np.array_equal(have.tensors()[name], array) for name, array in want.tensors().items())
    with pytest.raises(SynflipError, match="layer 0: the weights are complex"):
        compile_layers([np.full((2, 3), 0.5j)], [[1, 2]], [], 4, 8, ["a", "b"], 255)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"weights": with_value(1.0000001)}, r"layer 1: weight\[1, 2\] = 1.0000001 is outside \[-1, 1\]"),
        ({"weights": with_value(-7)}, r"layer 1: weight\[1, 2\] = -7.0 is outside"),
        ({"weights": with_value(np.nan)}, r"layer 1: weight\[1, 2\] = nan is outside"),
        ({"weights": with_value(-np.inf)}, r"layer 1: weight\[1, 2\] = -inf is outside"),
        ({"biases": [[0, 0, 0], [0, np.nan]]}, r"layer 1: bias\[1\] = nan does not fit 32 bits"),
        ({"biases": [[0, np.inf, 0], [0, 0]]}, r"layer 0: bias\[1\] = inf does not fit"),
        ({"biases": [[0, 0, 2**31], [0, 0]]}, r"layer 0: bias\[2\] = 2147483648.0 does not fit"),
        ({"biases": [[0, 0, 2**31 - 0.5], [0, 0]]}, r"layer 0: bias\[2\] = 2147483647.5 does not fit"),
        ({"biases": [[-(2**31) - 1, 0, 0], [0, 0]]}, r"layer 0: bias\[0\] = -2147483649.0 does not fit"),
        ({"biases": [[0, 0, 2**31 - 1], [0, 0]]}, r"layer 0: bias plus sum of output 2 .*32-bit logit"),
        ({"biases": [[0, 0], [0, 0]]}, r"layer 0: the bias has shape \[2\], not \[3\]"),
        ({"biases": [[0, 0, 0], 0]}, r"layer 1: the bias has shape \[\], not \[2\]"),
        ({"biases": [[0, 0, 0]]}, r"1 biases for 2 layers"),
        ({"weights": [np.zeros(4), np.zeros((2, 3))]}, r"layer 0: the weights have shape \[4\]"),
        ({"weights": [np.zeros((3, 4)), np.zeros((2, 0))]}, r"layer 1: the weights have shape \[2, 0\]"),
        ({"weights": [np.zeros((3, 4)), [[1, 2], [3]]]}, r"layer 1: the weights are not an array of numbers"),
        (
            {"weights": [[["x"] * 4] * 3, np.zeros((2, 3))]},
            r"layer 0: the weights are not an array of numbers",
        ),
        ({"weights": [np.zeros((3, 4)), np.zeros((2, 4))]}, r"layer 1: 4 inputs after a layer of 3 outputs"),
        (
            {"weights": [], "biases": [], "shifts": []},
            r"the number of layers must be an integer in 1\.\.16, not 0",
        ),
        (
            {"weights": [np.zeros((1025, 4)), np.zeros((2, 1025))], "biases": [np.zeros(1025), [0, 0]]},
            r"layer 0: 1025 outputs; .* at most 1024",
        ),
        (
            {"weights": [np.ones((3, 32897)), np.zeros((2, 3))]},
            r"layer 0: the sum of output 0 can be anything in 0\.\.8388735, beyond the 24-bit accumulator",
        ),
        ({"shifts": []}, r"0 shifts for 2 layers"),
        ({"shifts": [32]}, r"layer 0: the shift must be an integer in 0\.\.31, not 32"),
        ({"shifts": [-1]}, r"layer 0: the shift must be"),
        ({"shifts": [2.0]}, r"layer 0: the shift must be"),
        ({"bits": 0}, r"bits must be an integer in 1\.\.16, not 0"),
        ({"bits": 17}, r"bits must be an integer in 1\.\.16, not 17"),
        ({"bits": 4.0}, r"bits must be an integer in 1\.\.16, not 4.0"),
        ({"activation_bits": 9}, r"activation bits, must be an integer in 1\.\.8, not 9"),
        ({"classes": ["a"]}, r"1 class names for 2 logits"),
        ({"classes": [1, 2]}, r"classes must be a list with a name for each logit, not \[1, 2\]"),
        ({"classes": 2}, r"classes must be a list with a name for each logit, not 2"),
        ({"classes": ["a", "a"]}, r"two classes are called 'a': give each its own name"),
        ({"source": {"epochs": np.int64(3)}}, r"the source of a model is written as JSON: .*int64"),
        ({"input_max": 0}, r"largest pixel"),
    ],
)
def test_refusals_name_the_layer_and_the_number(change: dict[str, Any], expected: str) -> None:
    with pytest.raises(SynflipError, match=expected) as caught:
        compiled(**change)
    assert "\n" not in str(caught.value)


def test_a_network_of_torch_is_to_be_converted_first() -> None:
    line = r"a network of coins is compiled, not a Linear: .* synflip.convert of a trained network"
    with pytest.raises(SynflipError, match=line):
        compile_network(torch.nn.Linear(4, 2), ("a", "b"), 255)  # type: ignore[arg-type]


def test_the_largest_sum_that_fits_is_taken() -> None:
    # 32896 * 255 = 2**23 - 128
    assert compiled(weights=[np.ones((3, 32896)), np.zeros((2, 3))]).rows == (32896, 3)
