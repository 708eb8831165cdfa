"""Networks in ONNX files: read as they are, or refused by the name of the node."""

import math
import os
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import synflip
import torch
from onnx import TensorProto, helper, numpy_helper
from synflip.errors import SynflipError
from synflip.modelfile import pt2
from synflip.modelfile.network import load_network
from synflip.modelfile.onnx import Onnx
from synflip.training.ordinary import Ordinary, logits
from torch import nn

from tests.modelfile.onnx_models import B0, B1, DENSE, W0, W1, WEIGHTS, Node, X, dense, model

RUN = torch.from_numpy(X).double()


def read(made: onnx.ModelProto | Onnx, *shapes: tuple[int, ...]) -> Ordinary:
    network = made if isinstance(made, Onnx) else Onnx(made.SerializeToString())
    return Ordinary(network, *(shapes or ((12,),)))


def found(made: onnx.ModelProto | Onnx, *shapes: tuple[int, ...]) -> np.ndarray:
    """Logits of the layers that are read, which were compared with what onnx.reference computes."""
    ordinary = read(made, *shapes)
    ordinary.check(RUN)
    return logits(ordinary.layers, RUN).numpy()


def wanted(x: np.ndarray = X, hidden: Any = lambda s: np.maximum(s, 0)) -> np.ndarray:
    return hidden(x.astype(float) @ W0.T + B0) @ W1.T + B1


FRONT = {"m": np.linspace(0, 1, 12, dtype=np.float32), "d": np.full(1, 0.25, np.float32)}
NORM = {
    "g": np.linspace(0.5, 2, 8, dtype=np.float32),
    "h": np.linspace(-1, 1, 8, dtype=np.float32),
    "m": np.linspace(-2, 2, 8, dtype=np.float32),
    "v": np.linspace(0.1, 3, 8, dtype=np.float32),
}


def normalised(s: np.ndarray) -> np.ndarray:
    return (s - NORM["m"]) / np.sqrt(NORM["v"] + 0.25) * NORM["g"] + NORM["h"]


def test_gemm() -> None:
    assert np.allclose(found(dense()), wanted())
    turned: tuple[Node, ...] = (
        ("Gemm", ("x", "w0"), "s", {"alpha": 0.5}),
        ("Relu", ("s",), "r"),
        ("Gemm", ("r", "w1", "b1"), "z", {"transB": 1, "beta": 3.0}),
    )
    hidden = np.maximum(X.astype(float) @ W0.T * 0.5, 0)
    assert np.allclose(found(model(turned, {**WEIGHTS, "w0": W0.T})), hidden @ W1.T + 3 * B1)


def test_products_with_and_without_biases_and_constants_that_are_nodes() -> None:
    nodes: tuple[Node, ...] = (
        ("Constant", (), "w0", {"value": numpy_helper.from_array(W0)}),
        ("Transpose", ("w0",), "t0", {"perm": [1, 0]}),
        ("MatMul", ("x", "t0"), "s"),
        ("Add", ("b0", "s"), "a"),
        ("Clip", ("a", "zero"), "r"),
        ("MatMul", ("r", "w1"), "z"),
    )
    constants = {"b0": B0[None], "w1": W1.T, "zero": np.zeros((), np.float32)}
    assert np.allclose(found(model(nodes, constants)), wanted() - B1)


def test_pixels_are_normalised_in_front() -> None:
    nodes: tuple[Node, ...] = (("Sub", ("x", "m"), "c"), ("Div", ("c", "d"), "y"))
    rest = [
        (kind, ["y" if name == "x" else name for name in names], *others) for kind, names, *others in DENSE
    ]
    x = (X - FRONT["m"]) / 0.25
    assert np.allclose(found(model([*nodes, *rest], {**WEIGHTS, **FRONT})), wanted(x), rtol=1e-5, atol=1e-5)  # type: ignore[list-item]
    channels = {"m": np.array([0.1, 0.2, 0.3], np.float32).reshape(1, 3, 1, 1), "d": FRONT["d"]}
    flat: Node = ("Flatten", ("y",), "f")
    rest = [
        (kind, ["f" if name == "y" else name for name in names], *others) for kind, names, *others in rest
    ]
    made = model([*nodes, flat, *rest], {**WEIGHTS, **channels}, ("n", 3, 2, 2))  # type: ignore[list-item]
    x = (X - np.repeat(channels["m"].reshape(3), 4)) / 0.25
    assert np.allclose(found(made, (12,), (3, 2, 2)), wanted(x), rtol=1e-5, atol=1e-5)


def test_signs_change_in_front_and_between() -> None:
    front: tuple[Node, ...] = (("Sub", ("one", "x"), "c"), ("Neg", ("c",), "n"), ("Sub", ("m", "n"), "y"))
    between: tuple[Node, ...] = (("Sub", ("one", "h"), "o"), ("Neg", ("o",), "r"))
    made = [
        *front,
        ("Gemm", ("y", "w0", "b0"), "s", {"transB": 1}),
        ("Relu", ("s",), "h"),
        *between,
        DENSE[2],
    ]
    h = np.maximum((FRONT["m"] - (X.astype(float) - 1)) @ W0.T + B0, 0)
    constants = {**WEIGHTS, **FRONT, "one": np.ones((), np.float32)}
    assert np.allclose(found(model(made, constants)), (h - 1) @ W1.T + B1, rtol=1e-5, atol=1e-5)


def test_scalers_of_scikit_learn() -> None:
    scaler: Node = ("Scaler", ("x",), "y", {"offset": FRONT["m"].tolist(), "scale": [4.0] * 12})
    rest: tuple[Node, ...] = (("Gemm", ("y", "w0", "b0"), "s", {"transB": 1}), *DENSE[1:])
    assert np.allclose(
        found(model([scaler, *rest], WEIGHTS)), wanted((X - FRONT["m"]) * 4), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("opset", [7, 8, 9, 11, 13, 17])
@pytest.mark.parametrize("where", ["before", "after"])
def test_batch_normalisation_before_and_after_the_relu(where: str, opset: int) -> None:
    first, relu, last = DENSE
    norm = {"before": "s", "after": "r"}[where]
    node: Node = ("BatchNormalization", (norm, "g", "h", "m", "v"), "n", {"epsilon": 0.25})
    if where == "before":
        nodes: tuple[Node, ...] = (first, node, ("Relu", ("n",), "r"), last)
        hidden = wanted(hidden=lambda s: np.maximum(normalised(s), 0))
    else:
        nodes = (first, relu, node, ("Gemm", ("n", "w1", "b1"), "z", {"transB": 1}))
        hidden = wanted(hidden=lambda s: normalised(np.maximum(s, 0)))
    made = model(nodes, {**WEIGHTS, **NORM}, opset=opset)
    assert np.allclose(found(made), hidden, rtol=1e-5, atol=1e-5)


def test_batch_normalisation_as_in_training_is_refused_in_every_version() -> None:
    """Before version 14 it has no attribute that says so, but more results."""
    node: Node = ("BatchNormalization", ("s", "g", "h", "m", "v"), "n mean variance")
    nodes: tuple[Node, ...] = (DENSE[0], node, ("Relu", ("n",), "r"), DENSE[2])
    with pytest.raises(SynflipError, match=r"node 1 \(BatchNormalization\) is as in training"):
        read(model(nodes, {**WEIGHTS, **NORM}, opset=9))


def test_a_clip_is_a_limit() -> None:
    six = {"zero": np.zeros((), np.float32), "most": np.full((), 2.5, np.float32)}
    nodes: tuple[Node, ...] = (DENSE[0], ("Clip", ("s", "zero", "most"), "r"), DENSE[2])
    assert np.allclose(found(model(nodes, {**WEIGHTS, **six})), wanted(hidden=lambda s: s.clip(0, 2.5)))
    old: tuple[Node, ...] = (DENSE[0], ("Clip", ("s",), "r", {"min": 0.0, "max": 2.5}), DENSE[2])
    made = model(old, WEIGHTS, opset=9)
    assert np.allclose(found(made), wanted(hidden=lambda s: s.clip(0, 2.5)))
    assert [layer.limit for layer in read(made).layers] == [2.5, math.inf]


def test_shapes_that_are_computed() -> None:
    """As torch writes x.view(x.size(0), -1)."""
    sizes: tuple[Node, ...] = (
        ("Shape", ("x",), "shape"),
        ("Gather", ("shape", "zero"), "first", {"axis": 0}),
        ("Unsqueeze", ("first", "axis"), "one"),
        ("Concat", ("one", "rest"), "flat", {"axis": 0}),
        ("Reshape", ("x", "flat"), "y"),
        ("Gemm", ("y", "w0", "b0"), "s", {"transB": 1}),
    )
    numbers = {"zero": np.array(0), "axis": np.array([0]), "rest": np.array([-1])}
    nodes = (*sizes, *DENSE[1:], ("Identity", ("z",), "i"), ("Dropout", ("i",), "out"))
    made = model(nodes, {**WEIGHTS, **numbers}, ("n", 1, 3, 4))  # type: ignore[arg-type]
    assert np.allclose(found(made, (12,), (1, 3, 4)), wanted())


@pytest.mark.parametrize(
    ("ends", "kind"),
    [
        ((("Softmax", ("z",), "p", {"axis": 1}),), "softmax"),
        ((("LogSoftmax", ("z",), "p"),), "log_softmax"),
        ((("Sigmoid", ("z",), "p"),), "sigmoid"),
        ((("Softmax", ("z",), "q"), ("ArgMax", ("q",), "p", {"axis": 1, "keepdims": 0})), "argmax"),
        (
            (("Softmax", ("z",), "q"), ("ZipMap", ("q",), "p", {"classlabels_int64s": [0, 1, 2, 3]})),
            "softmax",
        ),
    ],
)
def test_what_comes_after_the_logits(ends: tuple[Node, ...], kind: str) -> None:
    made = model([*DENSE, *ends], WEIGHTS, result=7 if kind == "argmax" else 1)
    assert np.allclose(found(made), wanted())
    assert read(made)._end == kind


def test_one_output_of_two_classes_becomes_two_logits() -> None:
    """p = sigmoid(z) is the second class's softmax of -z/2 and z/2."""
    one = {**WEIGHTS, "w1": W1[:1], "b1": B1[:1]}
    z = wanted()[:, 0]
    both: tuple[Node, ...] = (
        ("Sigmoid", ("z",), "p"),
        ("Sub", ("one", "p"), "q"),
        ("Concat", ("q", "p"), "scores", {"axis": 1}),
    )
    for ends in ((), both[:1], both):
        made = model([*DENSE, *ends], {**one, "one": np.ones((), np.float32)})
        assert np.allclose(found(made), np.stack([-z / 2, z / 2], 1))
    assert np.allclose(torch.softmax(torch.tensor([[-0.35, 0.35]]), 1)[0, 1], 1 / (1 + math.exp(-0.7)))


def test_linear_classifiers() -> None:
    attributes = {
        "coefficients": W0.ravel().tolist(),
        "intercepts": B0.tolist(),
        "classlabels_ints": [*range(8)],
    }
    classifier: Node = (
        "LinearClassifier",
        ("x",),
        "label scores",
        {**attributes, "post_transform": "SOFTMAX"},
    )
    norm: Node = ("Normalizer", ("scores",), "p", {"norm": "L1"})
    assert np.allclose(found(model([classifier, norm], {})), X.astype(float) @ W0.T + B0)
    attributes = {
        "coefficients": np.stack([-W0[0], W0[0]]).ravel().tolist(),
        "intercepts": [0.5, -0.5],
        "classlabels_ints": [0, 1],
    }
    two: Node = ("LinearClassifier", ("x",), "label scores", {**attributes, "post_transform": "LOGISTIC"})
    z = X.astype(float) @ W0[0] - 0.5
    assert np.allclose(found(model([two], {})), np.stack([-z / 2, z / 2], 1))
    raw: Node = ("LinearClassifier", ("x",), "label scores", {**attributes, "post_transform": "NONE"})
    second: Node = ("ArrayFeatureExtractor", ("scores", "at"), "z")
    assert np.allclose(found(model([raw, second], {"at": np.array([1])})), np.stack([-z / 2, z / 2], 1))


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_any_batch_that_it_was_exported_for(batch: int) -> None:
    reshape: Node = ("Reshape", ("x", "flat"), "y")
    first: Node = ("Gemm", ("y", "w0", "b0"), "s", {"transB": 1})
    flat = {"flat": np.array([batch, 12])}
    made = model([reshape, first, *DENSE[1:]], {**WEIGHTS, **flat}, (batch, 3, 4))
    assert np.allclose(found(made, (12,), (3, 4)), wanted())


def test_what_torch_writes_itself(tmp_path: Path) -> None:
    torch.manual_seed(3)
    layers = (
        nn.Linear(12, 8),
        nn.BatchNorm1d(8),
        nn.ReLU6(),
        nn.Dropout(),
        nn.Linear(8, 3),
        nn.LogSoftmax(1),
    )
    network = nn.Sequential(nn.Flatten(), *layers).eval()
    network[2].running_mean.uniform_(-1, 1)  # type: ignore[union-attr,operator]
    path = tmp_path / "m.onnx"
    with pytest.warns(DeprecationWarning):
        torch.onnx.export(
            network,
            (torch.rand(2, 3, 4),),
            path,
            dynamo=False,
            dynamic_axes={"x": {0: "n"}},
            input_names=["x"],
        )
    ordinary = Ordinary(load_network(path), (12,), (3, 4))
    ordinary.check(RUN)
    with torch.no_grad():
        same = torch.log_softmax(logits(ordinary.layers, RUN), 1)
        assert torch.allclose(same.float(), network(RUN.float().view(-1, 3, 4)), atol=1e-5)


def test_what_torch_writes_by_default(tmp_path: Path) -> None:
    """In two files: torch_export/export.py made them."""
    folder = Path(__file__).parent / "torch_export"
    network = load_network(folder / "m.onnx")
    ordinary, rows = Ordinary(network, (64,), (8, 8)), torch.rand(9, 64).double()
    ordinary.check(rows)
    assert [len(layer.bias) for layer in ordinary.layers] == [16, 10]
    content, beside = ((folder / name).read_bytes() for name in ("m.onnx", "m.onnx.data"))
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(SynflipError, match=r"another file, 'm\.onnx\.data', which cannot be read \(No such"):
        load_network(tmp_path / "m.onnx")
    (tmp_path / "m.onnx.data").write_bytes(bytes(len(beside)))
    other = load_network(tmp_path / "m.onnx")
    assert other.sha256 != network.sha256
    assert not Ordinary(other, (64,), (8, 8)).layers[0].weight.any()


def lies_in(location: str, **where: int | str) -> bytes:
    """The network 12-8-4 with its first weights, [8, 12], in another file."""
    made = dense()
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **where}.items():
        tensor.external_data.add(key=key, value=str(value))
    return made.SerializeToString()


def test_weights_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(bytes(8) + W0.tobytes())
    for where in ({"offset": 8}, {"offset": 8, "length": W0.nbytes, "checksum": "0"}):
        assert np.allclose(found(onnx_of(lies_in("w", **where), tmp_path)), wanted())


def onnx_of(content: bytes, folder: Path) -> Onnx:
    (folder / "m.onnx").write_bytes(content)
    network = load_network(folder / "m.onnx")
    assert isinstance(network, Onnx)
    return network


@pytest.mark.parametrize(
    ("location", "where", "message"),
    [
        ("../w", {}, "'../w', which is no name of a file in the same folder"),
        ("{folder}/w", {}, "which is no name of a file in the same folder"),
        ("in/w", {}, "'in/w', which is no name"),
        ("..\\w", {}, "which is no name"),
        ("", {}, "'', which is no name"),
        (".", {}, "'.', which is no name"),
        ("w\0", {}, "which is no name"),
        ("n" * 300, {}, "which cannot be read"),
        ("link", {}, "'link', which is no regular file"),
        ("fifo", {}, "'fifo', which is no regular file"),
        ("in", {}, "'in', which is no regular file"),
        ("w", {"offset": 400}, "bytes 400 to 400 of 384; copy both files again"),
        ("w", {"offset": 8, "length": 384}, "bytes 8 to 392 of 384"),
        ("w", {"length": 10**17}, f"bytes 0 to {10**17} of 384"),
        ("w", {"offset": -8}, "its offset is '-8', not a number of bytes"),
        ("w", {"length": "9" * 5000}, "its length is '999"),
        ("w", {"length": "\u0665"}, "not a number of bytes"),
        ("w", {"length": 380}, "shape [8, 12] does not fit the 95 numbers"),
        ("w", {"length": 383}, "shape [8, 12] does not fit the 95 numbers"),
        ("sparse", {}, f"{1 << 40} bytes, and {256 << 20} are left of what a network may have"),
    ],
)
def test_other_files_are_not_trusted(
    tmp_path: Path, location: str, where: dict[str, Any], message: str
) -> None:
    folder = tmp_path / "here"
    (folder / "in").mkdir(parents=True)
    for path in (tmp_path / "w", folder / "w", folder / "in" / "w"):
        path.write_bytes(W0.tobytes())
    (folder / "link").symlink_to("w")
    os.mkfifo(folder / "fifo")
    with (folder / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(SynflipError, match=re.escape(message)) as said:
        onnx_of(lies_in(location.format(folder=folder), **where), folder)
    assert "m.onnx: tensor 'w0'" in str(said.value) and "\n" not in str(said.value)
    assert len(str(said.value)) < 800


def test_other_files_are_limited_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pt2, "MAX_FILE_BYTES", 2 * W0.nbytes - 1)
    made = onnx.load_model_from_string(lies_in("w"))
    made.graph.initializer.append(made.graph.initializer[0])
    made.graph.initializer[-1].name = "again"
    (tmp_path / "w").write_bytes(W0.tobytes())
    with pytest.raises(SynflipError, match=f"'again' .*{W0.nbytes} bytes, and {W0.nbytes - 1} are left"):
        Onnx(made.SerializeToString(), tmp_path)


GROWING: dict[str, tuple[Node, ...]] = {
    "concatenated": tuple(("Concat", (f"s{n}", f"s{n}"), f"s{n + 1}", {"axis": 0}) for n in range(40)),
    "along axes of their own": tuple(
        node
        for n in range(8)
        for node in (
            ("Unsqueeze", (f"s{n}", "front"), f"u{n}"),
            ("Unsqueeze", (f"s{n}", "back"), f"v{n}"),
            ("Mul" if n % 2 else "Add", (f"u{n}", f"v{n}"), f"s{n + 1}"),
        )
    ),
    "gathered": tuple(
        node
        for n in range(0, 8, 2)
        for node in (
            ("Unsqueeze", (f"s{n}", "back"), f"s{n + 1}"),
            ("Gather", (f"s{n + 1}", "many"), f"s{n + 2}", {"axis": 1}),
        )
    ),
}


@pytest.mark.parametrize("kind", GROWING)
def test_sizes_do_not_grow(kind: str) -> None:
    """Each node may double what it takes: a file of some hundred bytes would fill the memory."""
    grown = GROWING[kind]
    reshape: Node = ("Reshape", ("x", grown[-1][2]), "y")
    first: Node = ("Gemm", ("y", "w0", "b0"), "s", {"transB": 1})
    axes = {"front": np.array([0]), "back": np.array([-1]), "many": np.zeros(64, int)}
    made = model((("Shape", ("x",), "s0"), *grown, reshape, first, *DENSE[1:]), {**WEIGHTS, **axes})
    with pytest.raises(SynflipError, match="computes sizes from more than 1048576 numbers"):
        Onnx(made.SerializeToString()).operations()


MADE: dict[str, list[Node]] = {
    "cast": [
        *(("Cast", (f"c{n}",), f"c{n + 1}", {"to": 1 if n % 2 else 11}) for n in range(8)),
        ("Gemm", ("x", "c8", "b0"), "s", {"transB": 1}),
        *DENSE[1:],
    ],
    "reordered": [
        *(
            node
            for n in range(0, 16, 2)
            for node in (
                ("Transpose", (f"c{n}",), f"c{n + 1}"),
                ("Reshape", (f"c{n + 1}", "size"), f"c{n + 2}"),
            )
        ),
        ("Gemm", ("x", "c16", "b0"), "s", {"transB": 1}),
        *DENSE[1:],
    ],
    "multiplied again": [
        DENSE[0],
        ("Relu", ("s",), "r0"),
        *(
            node
            for n in range(8)
            for node in (("Gemm", (f"r{n}", "square"), f"g{n}"), ("Relu", (f"g{n}",), f"r{n + 1}"))
        ),
        ("Gemm", ("r8", "w1", "b1"), "z", {"transB": 1}),
    ],
}


@pytest.mark.parametrize("kind", MADE)
def test_what_is_made_of_constants_is_limited(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every node may name the same constant."""
    constants = {**WEIGHTS, "c0": W0, "size": np.array([8, 12]), "square": np.eye(8, dtype=np.float32)}
    network = Onnx(model(MADE[kind], constants).SerializeToString())
    assert network.operations()
    monkeypatch.setattr(pt2, "MAX_MADE", 3000)
    with pytest.raises(SynflipError, match="more than 3000 bytes are made of the constants in the file"):
        network.operations()


def test_borders_do_not_fill_the_memory() -> None:
    conv: Node = ("Conv", ("x", "k"), "y", {"pads": [5000] * 4})
    made = model([conv], {"k": np.ones((1, 1, 3, 3), np.float32)}, ("n", 1, 4, 4))
    with pytest.raises(SynflipError, match=r"a result of shape \[1, 10002, 10002\] is too large"):
        Onnx(made.SerializeToString()).operations()


def test_a_large_kernel_does_not_fill_the_memory() -> None:
    """Its own numbers are few, and those that it takes of an image are one for each of them and position."""
    conv: Node = ("Conv", ("x", "k"), "y", {"pads": [900] * 4})
    made = model([conv], {"k": np.ones((1, 1, 200, 200), np.float32)}, ("n", 1, 4, 4))
    with pytest.raises(SynflipError, match=r"weights \[1, 1, 200, 200\] at 2576025 positions"):
        Onnx(made.SerializeToString())(torch.zeros(1, 1, 4, 4))


def changed(made: onnx.ModelProto, change: Any) -> onnx.ModelProto:
    change(made)
    return made


def outside(made: onnx.ModelProto) -> None:
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def huge(made: onnx.ModelProto) -> None:
    made.graph.initializer[0].dims[:] = [1 << 31, 1 << 31]


def with_a_function(made: onnx.ModelProto) -> None:
    made.functions.add(name="Own")


def with_an_if(made: onnx.ModelProto) -> None:
    made.graph.node.insert(
        0, helper.make_node("If", ["x"], ["y"], then_branch=made.graph, else_branch=made.graph)
    )
    made.graph.node[1].input[0] = "y"


def in_another_order(made: onnx.ModelProto) -> None:
    made.graph.node[0].input[0], made.graph.node[0].input[1] = "w0", "x"


def second_input(made: onnx.ModelProto) -> None:
    made.graph.input.append(helper.make_tensor_value_info("y", 1, [12]))


def second_output(made: onnx.ModelProto) -> None:
    made.graph.output.append(helper.make_tensor_value_info("r", 1, None))


def not_finite(made: onnx.ModelProto) -> None:
    made.graph.initializer[0].CopyFrom(numpy_helper.from_array(W0 * np.float32("nan"), "w0"))


def of_integers(made: onnx.ModelProto) -> None:
    made.graph.input[0].type.tensor_type.elem_type = 7


def nodes(
    *made: Node, opset: int = 17, shape: tuple[int | str, ...] = ("n", 12), **more: Any
) -> onnx.ModelProto:
    return model(made, {**WEIGHTS, **more}, opset=opset, shape=shape)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            changed(dense(), outside),
            r"tensor 'w0' lies in another file: export it with external_data=False, or put the file beside",
        ),
        (
            changed(dense(), huge),
            r"tensor 'w0' of shape \[2147483648, 2147483648\] does not fit the 96 numbers",
        ),
        (changed(dense(), with_a_function), "it has functions of its own, Own"),
        (changed(dense(), with_an_if), r"node 0 \(If\) cannot be made of coins; allowed are Linear"),
        (changed(dense(), in_another_order), r"node 0 \(Gemm\) does not take the result before it as rows"),
        (changed(dense(), second_input), "its graph has 2 inputs, x, y; a network takes one"),
        (changed(dense(), second_output), "its graph has 2 outputs, z, r; export it with one"),
        (
            changed(dense(), not_finite),
            r"node 0 \(Gemm\) has weights that are not finite: weight\[0, 0\] is nan",
        ),
        (changed(dense(), of_integers), "its input x is not of floats"),
        (nodes(DENSE[0], ("Tanh", ("s",), "r"), DENSE[2]), r"node 1 \(Tanh\) cannot be made of coins"),
        (
            nodes(DENSE[0], ("Sigmoid", ("s",), "r"), DENSE[2]),
            r"node 1 \(Sigmoid\) cannot be made of coins before",
        ),
        (
            nodes(DENSE[0], ("Identity", ("s",), "r"), DENSE[2]),
            r"node 2 \(Gemm\) comes after a Linear without",
        ),
        (
            nodes(DENSE[0], ("Clip", ("s", "b"), "r"), DENSE[2], b=np.float32([-1])),
            "cuts off at -1.0 and None",
        ),
        (nodes(*DENSE[:2]), "the last of 2 operations must be a Linear"),
        (nodes(DENSE[0], ("Add", ("s", "s"), "z")), r"node 1 \(Add\) has no constant as its input 1"),
        (nodes(("Conv", ("x", "w0"), "z")), r"node 0 \(Conv\) takes pictures \[C, H, W\] of a fixed size"),
        (
            nodes(("Flatten", ("x",), "f", {"axis": 0}), ("MatMul", ("f", "w0"), "z")),
            "mixes images: flatten from",
        ),
        (
            nodes(("MatMul", ("x", "w0"), "z"), w0=W1, shape=("n", 3, 4)),
            r"takes rows of 4 of \[N, 3, 4\]: flatten",
        ),
        (
            nodes(*DENSE, ("Softmax", ("z",), "p", {"axis": 0})),
            "is over dimension 0; over the classes it is 1",
        ),
        (nodes(*DENSE, opset=5), "its operations have version 5; 6 to"),
        (
            nodes(*DENSE, ("Sub", ("b1", "z"), "p"), ("Softmax", ("p",), "q"), ("Sub", ("b1", "q"), "r")),
            "subtracts the",
        ),
        (nodes(("Div", ("b1", "x"), "y"), ("MatMul", ("y", "w0"), "z")), "divides a constant by the result"),
        (
            nodes(("Div", ("x", "zero"), "y"), ("MatMul", ("y", "w0"), "z"), zero=np.zeros(1, np.float32)),
            "divides by 0",
        ),
        (
            nodes(("Mul", ("b0", "b0"), "c"), ("Add", ("x", "c"), "y")),
            r"node 0 \(Mul\) computes something of constants alone: fold constants",
        ),
    ],
)
def test_what_is_refused_by_name(made: onnx.ModelProto, message: str) -> None:
    with pytest.raises(SynflipError, match=message) as said:
        read(made, (12,), (3, 4))
    assert "\n" not in str(said.value)


def test_a_graph_that_computes_something_else_is_refused() -> None:
    """With weights that rounding to float16 changes between the nodes that are read."""
    cast: tuple[Node, ...] = (DENSE[0], ("Cast", ("s",), "h", {"to": 10}), ("Cast", ("h",), "t", {"to": 1}))
    made = model([*cast, ("Relu", ("t",), "r"), DENSE[2]], WEIGHTS)
    with pytest.raises(SynflipError, match="computes something else than its layers"):
        found(made)


def test_files_name_themselves(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with pytest.raises(SynflipError, match=r"cannot read .*m\.onnx"):
        load_network(path)
    for content in (b"", b"\x80\x04hello", b"PK\x03\x04", bytes(1000)):
        path.write_bytes(content)
        with pytest.raises(SynflipError, match=r"m\.onnx: not an ONNX file"):
            load_network(path)
    path.write_bytes(nodes(DENSE[0], ("Tanh", ("s",), "r"), DENSE[2]).SerializeToString())
    with pytest.raises(SynflipError, match=r"m\.onnx: node 1 \(Tanh\) cannot be made of coins"):
        synflip.convert(path, data=synflip.data.load("digits"), epochs=0)


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.nightly)])
def test_broken_files_are_right_or_one_line(count: int) -> None:
    """Bytes changed, cut out, doubled: nothing but SynflipError, and nothing is allocated beyond the file."""
    ends: tuple[Node, ...] = (
        ("BatchNormalization", ("z", "g", "h", "m", "v"), "n"),
        ("Softmax", ("n",), "p"),
    )
    norm = {name: value[:4] for name, value in NORM.items()}
    whole = model(
        [
            ("Reshape", ("x", "f"), "y"),
            *(
                (kind, ["y" if name == "x" else name for name in names], *others)
                for kind, names, *others in DENSE
            ),
            *ends,
        ],
        {**WEIGHTS, **norm, "f": np.array([-1, 12])},
        ("n", 3, 4),
    ).SerializeToString()  # type: ignore[list-item]
    chance, taken = random.Random(count), 0
    for _ in range(count):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            start = chance.randrange(len(content))
            part = slice(start, start + chance.randint(1, 8))
            kind = chance.randrange(4)
            if kind < 2:
                content[start] = chance.choice((0, 1, 127, 255, content[start] ^ 1 << chance.randrange(8)))
            else:
                content[part] = content[part] * 2 if kind == 2 else b""
        try:
            ordinary = Ordinary(Onnx(bytes(content)), (12,), (3, 4))
            ordinary.check(RUN)
            taken += 1
        except SynflipError as error:
            assert "\n" not in str(error)
    assert 0 < taken < count
