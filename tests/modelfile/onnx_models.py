"""ONNX models for tests, made node by node."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

NUMBERS = np.random.default_rng(5)
#: Weights and biases of a network 12-8-4.
W0, B0 = NUMBERS.normal(size=(8, 12)).astype(np.float32), NUMBERS.normal(size=8).astype(np.float32)
W1, B1 = NUMBERS.normal(size=(4, 8)).astype(np.float32), NUMBERS.normal(size=4).astype(np.float32)
X = NUMBERS.random((20, 12)).astype(np.float32)

Node = tuple[str, Sequence[str], str] | tuple[str, Sequence[str], str, dict[str, Any]]


def model(
    nodes: Sequence[Node],
    constants: Mapping[str, NDArray[Any]],
    shape: Sequence[int | str] = ("n", 12),
    opset: int = 17,
    output: str = "",
    **kinds: int,
) -> onnx.ModelProto:
    """A model of nodes (operation, inputs, output, attributes) that takes x.

    output: the last node's if it is empty. kinds: of the input and the output, other than float.
    """
    graph = helper.make_graph(
        [
            helper.make_node(
                node[0], node[1], node[2].split(), domain=DOMAINS.get(node[0], ""), **(node[3:] or ({},))[0]
            )
            for node in nodes
        ],
        "network",
        [helper.make_tensor_value_info("x", kinds.get("input", 1), list(shape))],
        [helper.make_tensor_value_info(output or nodes[-1][2].split()[-1], kinds.get("result", 1), None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


DOMAINS = dict.fromkeys(
    ("ArrayFeatureExtractor", "LinearClassifier", "Normalizer", "Scaler", "ZipMap"), "ai.onnx.ml"
)
WEIGHTS = {"w0": W0, "b0": B0, "w1": W1, "b1": B1}
DENSE: tuple[Node, ...] = (
    ("Gemm", ("x", "w0", "b0"), "s", {"transB": 1}),
    ("Relu", ("s",), "r"),
    ("Gemm", ("r", "w1", "b1"), "z", {"transB": 1}),
)


def dense() -> onnx.ModelProto:
    """The network 12-8-4 of two Gemm."""
    return model(DENSE, WEIGHTS)
