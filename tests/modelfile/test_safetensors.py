"""The file of a compiled model: what is written comes back, what is hostile is refused in one line."""

import hashlib
import json
import pickle
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.modelfile.safetensors import MAX_HEADER_BYTES, load, save
from synflip.spec.model import CompiledModel, Layer, from_tensors

from tests.networks import random_network, small_convolutional_network
from tests.spec.models import model, one_line


def same(a: CompiledModel, b: CompiledModel) -> None:
    for name in ("bits", "activation_bits", "shifts", "classes", "input_max"):
        assert getattr(a, name) == getattr(b, name)
    assert dict(a.source) == dict(b.source)
    assert len(a.layers) == len(b.layers)
    for one, other in zip(a.layers, b.layers, strict=True):
        for part in ("q", "sign", "bias"):
            assert getattr(one, part).dtype == getattr(other, part).dtype
            assert getattr(one, part).tolist() == getattr(other, part).tolist()


def test_the_first_files_are_read_and_written_as_they_were(tmp_path: Path) -> None:
    """The code of commit 528078d wrote the file; its reference gave the votes."""
    file = Path(__file__).parent / "version_1.safetensors"
    first = load(file)
    assert (first.version, first.shape, first.input_max, first.shifts) == (1, "6-5-3", 16, (2,))
    assert first.classes == ("a", "b", "c") and first.source == {"data": "made by hand", "seed": 0}
    pixels = [[11, 13, 0, 13, 7, 8], [10, 4, 16, 0, 4, 6], [9, 6, 2, 0, 0, 0]]
    with Golden() as device:
        device.load(first)
        assert device.infer(pixels, samples=20, seed=7).votes.tolist() == [[9, 2, 9], [10, 1, 9], [18, 0, 2]]
    save(first, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == file.read_bytes()


@st.composite
def models(draw: st.DrawFn) -> CompiledModel:
    bits = draw(st.integers(1, 16))
    sizes = draw(st.lists(st.integers(1, 9), min_size=2, max_size=5))
    numbers = np.random.default_rng(draw(st.integers(0, 2**32)))
    layers = tuple(
        Layer(
            numbers.integers(0, 2**bits, (outputs, rows)).astype(np.uint16),
            numbers.integers(0, 2, (outputs, rows)).astype(np.uint8),
            numbers.integers(-1000, 1000, outputs).astype(np.int32),
        )
        for rows, outputs in pairwise(sizes)
    )
    return CompiledModel(
        layers=layers,
        bits=bits,
        activation_bits=draw(st.integers(1, 8)),
        shifts=tuple(draw(st.integers(0, 31)) for _ in sizes[2:]),
        classes=tuple(draw(st.lists(st.text(max_size=6), min_size=sizes[-1], max_size=sizes[-1]))),
        input_max=draw(st.integers(1, 65535)),
        source=draw(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3)),
    )


@given(models())
@settings(max_examples=50, deadline=None)
def test_a_model_survives_its_file(tmp_path_factory: pytest.TempPathFactory, made: CompiledModel) -> None:
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    save(made, path)
    same(load(path), made)
    first = path.read_bytes()
    save(load(path), path)
    assert path.read_bytes() == first  # the same model gives the same bytes
    assert [found.name for found in path.parent.iterdir()] == ["m.safetensors"]  # nothing half-written stays


def test_a_model_is_its_tensors_and_metadata() -> None:
    made = model()
    assert set(made.tensors()) == {"l0.q", "l0.sign", "l0.bias", "l1.q", "l1.sign", "l1.bias"}
    header = json.loads(made.metadata()["synflip"])
    assert {name: header[name] for name in ("version", "k", "a", "shifts", "classes")} == {
        "version": 1,
        "k": 4,
        "a": 3,
        "shifts": [1],
        "classes": ["no", "yes"],
    }
    same(from_tensors(made.tensors(), made.metadata()), made)


@pytest.mark.parametrize(
    ("made", "digest"),
    [
        (model(), "1284c9e4dae87d4de6d413cf65ac8ef86e96d32d7d8061a0dc3d991a67253c92"),
        (
            random_network(np.random.default_rng(5), (20, *[12] * 7, 3)),
            "4885df840e7d65565fa2c4f2c9e8e8a030775c38e2a3c6e75f9b612d1e8872f0",
        ),
    ],
)
def test_files_of_version_1_are_the_same_bytes_for_ever(
    tmp_path: Path, made: CompiledModel, digest: str
) -> None:
    """SHA-256 of files that a synflip without version 2 wrote."""
    save(made, tmp_path / "m")
    assert hashlib.sha256((tmp_path / "m").read_bytes()).hexdigest() == digest


def test_a_file_of_version_2(tmp_path: Path) -> None:
    made = small_convolutional_network()
    save(made, tmp_path / "m")
    back = load(tmp_path / "m")
    same(back, made)
    assert [item.convolution for item in back.layers] == [item.convolution for item in made.layers]
    header = json.loads(made.metadata()["synflip"])
    assert header["version"] == 2
    assert header["layers"] == [
        {
            "kind": "conv",
            "input": [5, 4, 2],
            "kernel": [3, 3],
            "stride": [1, 1],
            "pad": [1, 1],
            "pool": [2, 2],
        },
        {
            "kind": "conv",
            "input": [2, 2, 3],
            "kernel": [2, 1],
            "stride": [1, 1],
            "pad": [0, 0],
            "pool": [1, 1],
        },
        {"kind": "dense"},
    ]


def test_sixteen_layers(tmp_path: Path) -> None:
    made = random_network(np.random.default_rng(6), (3,) * 17)
    save(made, tmp_path / "m")
    same(load(tmp_path / "m"), made)


FIRST, SECOND = ({"kind": "conv", "input": [5, 4, 2], "kernel": [3, 3], "pad": [1, 1], "pool": [2, 2]},
                 {"kind": "conv", "input": [2, 2, 3], "kernel": [2, 1]})  # fmt: skip


def hostile_layers(layers: Any) -> bytes:
    """The small convolutional network's file with other ``layers`` in its metadata."""
    made = small_convolutional_network()
    header = json.loads(made.metadata()["synflip"]) | {"layers": layers}
    return file_bytes(made.tensors(), {"synflip": json.dumps(header)})


def test_stride_pad_and_pool_may_be_missing(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(hostile_layers([FIRST, SECOND, {"kind": "dense"}]))
    same(load(tmp_path / "m"), small_convolutional_network())


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (None, ["`layers`", "3 objects"]),
        ({}, ["`layers`", "3 objects"]),
        ([FIRST, SECOND], ["`layers`", "3 objects"]),
        ([FIRST, SECOND, {}], ["layer 2", "dense", "conv"]),
        ([FIRST, SECOND, "dense"], ["layer 2", "dense", "conv"]),
        ([FIRST, SECOND, {"kind": ["dense"]}], ["layer 2", "dense", "conv"]),
        ([FIRST, SECOND, {"kind": "pool"}], ["layer 2", "pool", "dense", "conv"]),
        ([FIRST, SECOND, {"kind": "dense", "input": [8]}], ["layer 2", "input"]),
        ([FIRST, {"kind": "dense"}, {"kind": "dense"}], ["layer 1", "6 inputs", "12 outputs"]),
        ([FIRST, {"kind": "conv", "kernel": [2, 1]}, {"kind": "dense"}], ["layer 1", "without `input`"]),
        ([FIRST, SECOND | {"dilation": [1, 1]}, {"kind": "dense"}], ["layer 1", "no `dilation`"]),
        ([FIRST, SECOND | {"kernel": 2}, {"kind": "dense"}], ["layer 1", "`kernel`", "list"]),
        ([FIRST, SECOND | {"kernel": [2, 1.0]}, {"kind": "dense"}], ["layer 1", "`kernel`", "1.0"]),
        ([FIRST, SECOND | {"pad": [0, -1]}, {"kind": "dense"}], ["layer 1", "`pad`", "-1"]),
        ([FIRST, SECOND | {"pad": [[0], 0]}, {"kind": "dense"}], ["layer 1", "`pad`"]),
        ([FIRST | {"input": [2**40, 2**40, 2**40]}, SECOND, {"kind": "dense"}], ["layer 0", "`input`"]),
        ([FIRST | {"stride": [10**400, 1]}, SECOND, {"kind": "dense"}], ["layer 0", "`stride`"]),
        ([FIRST | {"input": [5, 4, 3]}, SECOND, {"kind": "dense"}], ["layer 0", "18 rows", "27"]),
        ([FIRST | {"pool": [1, 2]}, SECOND, {"kind": "dense"}], ["layer 1", "2x2x3", "5x2x3"]),
        ([FIRST, SECOND, {"kind": "conv", "input": [1, 2, 4], "kernel": [1, 2]}], ["layer 2", "last"]),
    ],
)
def test_hostile_layers_are_refused_in_one_line(tmp_path: Path, layers: Any, words: list[str]) -> None:
    path = tmp_path / "m"
    path.write_bytes(hostile_layers(layers))
    with pytest.raises(SynflipError) as error:
        load(path)
    one_line(str(error.value), str(path), *words)


def test_tensors_need_not_be_contiguous(tmp_path: Path) -> None:
    made = model()
    turned = tuple(
        Layer(np.asfortranarray(item.q), np.asfortranarray(item.sign), item.bias) for item in made.layers
    )
    save(model(layers=turned), tmp_path / "turned")
    save(made, tmp_path / "plain")
    assert (tmp_path / "turned").read_bytes() == (tmp_path / "plain").read_bytes()


def test_bytes_do_not_depend_on_the_order_in_which_the_source_was_told(tmp_path: Path) -> None:
    save(model(source={"data": "digits", "epochs": 3}), tmp_path / "one")
    save(model(source={"epochs": 3, "data": "digits"}), tmp_path / "other")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_a_model_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "m.safetensors"
    with pytest.raises(SynflipError) as error:
        save(model(), path)
    one_line(str(error.value), f"cannot make the folder {path.parent}")


DTYPES = {"uint16": "U16", "uint8": "U8", "int32": "I32", "int64": "I64", "float32": "F32", "float64": "F64"}


def file_bytes(
    tensors: dict[str, np.ndarray],
    metadata: Any = None,
    length: int | None = None,
    cut: int = 0,
    **entries: Any,
) -> bytes:
    """A safetensors file written by hand, so that it can be wrong. ``entries`` replace the header's own."""
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    data = b""
    for name, tensor in tensors.items():
        begin = len(data)
        data += tensor.tobytes()
        header[name] = {
            "dtype": DTYPES[tensor.dtype.name],
            "shape": list(tensor.shape),
            "data_offsets": [begin, len(data)],
        }
    text = json.dumps(header | entries).encode()
    text += b" " * (-len(text) % 8)
    whole = struct.pack("<Q", len(text) if length is None else length) + text + data
    return whole[: len(whole) - cut]


def with_header(**changes: Any) -> dict[str, str]:
    """The sound model's metadata with fields changed, or left out if None."""
    header = json.loads(model().metadata()["synflip"]) | changes
    return {"synflip": json.dumps({name: value for name, value in header.items() if value is not ...})}


def without(*names: str) -> dict[str, np.ndarray]:
    return {name: tensor for name, tensor in model().tensors().items() if name not in names}


TENSORS, METADATA = model().tensors(), model().metadata()


SOUND = file_bytes(TENSORS, METADATA)


L0_Q = {"dtype": "U16", "shape": [3, 5], "data_offsets": [0, 30]}


HOSTILE: dict[str, tuple[bytes, list[str]]] = {
    "empty": (b"", ["not a safetensors file"]),
    "seven bytes": (SOUND[:7], ["not a safetensors file"]),
    "the length alone": (SOUND[:8], ["header's length"]),
    "header cut": (SOUND[:100], ["header's length"]),
    "one byte short": (SOUND[:-1], ["not a safetensors file"]),
    "one byte more": (SOUND + b"\0", ["not a safetensors file"]),
    "header length 0": (file_bytes(TENSORS, METADATA, length=0), ["header's length"]),
    "header length 2**64-1": (file_bytes(TENSORS, METADATA, length=2**64 - 1), ["header's length"]),
    "header length 2**63": (file_bytes(TENSORS, METADATA, length=2**63), ["header's length"]),
    "header longer than the file": (file_bytes(TENSORS, METADATA, length=len(SOUND)), ["header's length"]),
    "header longer than we take": (
        struct.pack("<Q", MAX_HEADER_BYTES + 8) + b"{}".ljust(MAX_HEADER_BYTES + 8),
        ["header's length"],
    ),
    "header not JSON": (struct.pack("<Q", 8) + b"not json", ["not JSON"]),
    "header not text": (struct.pack("<Q", 8) + b"\xff" * 8, ["not JSON"]),
    "header nested too deep": (struct.pack("<Q", 500_000) + b"[" * 500_000, ["not JSON"]),
    "header a list": (struct.pack("<Q", 8) + b"[1, 2, 3", ["not JSON"]),
    "header a whole list": (struct.pack("<Q", 8) + b"[1,2,34]", ["not an object"]),
    "no tensors": (file_bytes({}, METADATA), ["number of layers"]),
    "no metadata": (file_bytes(TENSORS), ["synflip", "metadata"]),
    "other metadata": (file_bytes(TENSORS, {"format": "pt"}), ["synflip", "metadata"]),
    "metadata not strings": (file_bytes(TENSORS, {"synflip": {"version": 1}}), ["not a safetensors file"]),
    "metadata a list": (file_bytes(TENSORS, ["synflip"]), ["not a safetensors file"]),
    "metadata not JSON": (file_bytes(TENSORS, {"synflip": "version 1"}), ["not JSON"]),
    "metadata nested too deep": (file_bytes(TENSORS, {"synflip": "[" * 200_000}), ["not JSON"]),
    "metadata a number": (file_bytes(TENSORS, {"synflip": "1"}), ["not a JSON object"]),
    "metadata null": (file_bytes(TENSORS, {"synflip": "null"}), ["not a JSON object"]),
    "version 3": (file_bytes(TENSORS, with_header(version=3)), ["version 3", "reads 1 and 2"]),
    "version 2 without layers": (file_bytes(TENSORS, with_header(version=2)), ["`layers`", "2 objects"]),
    "version 1 with layers": (
        file_bytes(TENSORS, with_header(layers=[{"kind": "dense"}] * 2)),
        ["`layers`", "version 1"],
    ),
    "version missing": (file_bytes(TENSORS, with_header(version=...)), ["version None"]),
    "version text": (file_bytes(TENSORS, with_header(version="1\n")), ["version '1\\n'"]),
    "k 0": (file_bytes(TENSORS, with_header(k=0)), ["probability bits", "1..16", "not 0"]),
    "k 17": (file_bytes(TENSORS, with_header(k=17)), ["probability bits", "1..16", "not 17"]),
    "k missing": (file_bytes(TENSORS, with_header(k=...)), ["probability bits", "None"]),
    "k a fraction": (file_bytes(TENSORS, with_header(k=4.5)), ["probability bits", "4.5"]),
    "k not a number": (file_bytes(TENSORS, with_header(k=float("nan"))), ["probability bits", "nan"]),
    "k too small for q": (file_bytes(TENSORS, with_header(k=1)), ["layer 0", "q[", "k = 1"]),
    "a 9": (file_bytes(TENSORS, with_header(a=9)), ["activation bits", "1..8", "not 9"]),
    "a missing": (file_bytes(TENSORS, with_header(a=...)), ["activation bits", "None"]),
    "a a list": (file_bytes(TENSORS, with_header(a=[8])), ["activation bits", "[8]"]),
    "shifts missing": (file_bytes(TENSORS, with_header(shifts=...)), ["`shifts`", "lists"]),
    "shifts a number": (file_bytes(TENSORS, with_header(shifts=1)), ["`shifts`", "lists"]),
    "shifts of text": (file_bytes(TENSORS, with_header(shifts=["1"])), ["layer 0", "shift", "'1'"]),
    "shift 32": (file_bytes(TENSORS, with_header(shifts=[32])), ["layer 0", "shift", "32"]),
    "shift infinite": (file_bytes(TENSORS, with_header(shifts=[float("inf")])), ["layer 0", "shift", "inf"]),
    "shifts too many": (file_bytes(TENSORS, with_header(shifts=[1, 1])), ["2 shifts", "2 layers"]),
    "classes missing": (file_bytes(TENSORS, with_header(classes=...)), ["`classes`", "lists"]),
    "classes too few": (file_bytes(TENSORS, with_header(classes=["yes"])), ["1 class names", "2 logits"]),
    "input a number": (file_bytes(TENSORS, with_header(input=255)), ["`input`"]),
    "input without end": (file_bytes(TENSORS, with_header(input={"max": 1e300})), ["largest pixel"]),
    "input 0": (file_bytes(TENSORS, with_header(input={"max": 0})), ["largest pixel", "0"]),
    "q missing": (file_bytes(without("l0.q"), METADATA), ["l0.q"]),
    "sign missing": (file_bytes(without("l1.sign"), METADATA), ["l1.sign", "missing"]),
    "bias missing": (file_bytes(without("l0.bias"), METADATA), ["l0.bias", "missing"]),
    "a layer missing": (
        file_bytes(without("l0.q", "l0.sign", "l0.bias"), METADATA),
        ["l0.bias", "missing"],
    ),
    "a tensor too many": (
        file_bytes(TENSORS | {"scale": np.ones(2, np.int32)}, METADATA),
        ["scale", "not part"],
    ),
    "a layer too many": (
        file_bytes(
            TENSORS | {f"l2.{part}": TENSORS[f"l1.{part}"] for part in ("q", "sign", "bias")}, METADATA
        ),
        ["1 shifts", "3 layers"],
    ),
    "a name of two lines": (
        file_bytes(TENSORS | {"two\nlines": np.ones(2, np.int32)}, METADATA),
        ["not part"],
    ),
    "a name that moves the cursor": (
        file_bytes(TENSORS | {"\x1b[2J": np.ones(2, np.float32)}, METADATA),
        ["F32"],
    ),
    "weights of floats": (
        file_bytes(TENSORS | {"l0.q": np.ones((3, 5), np.float32)}, METADATA),
        ["l0.q", "F32"],
    ),
    "bias of floats": (file_bytes(TENSORS | {"l1.bias": np.full(2, np.nan)}, METADATA), ["l1.bias", "F64"]),
    "bias of 64 bits": (
        file_bytes(TENSORS | {"l1.bias": np.zeros(2, np.int64)}, METADATA),
        ["l1.bias", "I64"],
    ),
    "q of bytes": (
        file_bytes(TENSORS | {"l0.q": np.ones((3, 5), np.uint8)}, METADATA),
        ["layer 0", "q is uint8"],
    ),
    "sign of words": (
        file_bytes(TENSORS | {"l0.sign": np.ones((3, 5), np.uint16)}, METADATA),
        ["layer 0", "sign is uint16"],
    ),
    "type unheard of": (
        file_bytes(TENSORS, METADATA, **{"l0.q": L0_Q | {"dtype": "X"}}),
        ["l0.q", "type 'X'"],
    ),
    "type a list": (file_bytes(TENSORS, METADATA, **{"l0.q": L0_Q | {"dtype": ["U16"]}}), ["l0.q", "U16"]),
    "type an object": (file_bytes(TENSORS, METADATA, **{"l0.q": L0_Q | {"dtype": {}}}), ["l0.q"]),
    "type missing": (file_bytes(TENSORS, METADATA, **{"l0.q": {"shape": [1]}}), ["l0.q"]),
    "type of two lines": (file_bytes(TENSORS, METADATA, **{"l0.q": L0_Q | {"dtype": "U\n16"}}), ["l0.q"]),
    "a tensor of text": (file_bytes(TENSORS, METADATA, **{"l0.q": "U16"}), ["l0.q", "U16"]),
    "data beyond the file": (
        file_bytes(TENSORS, METADATA, **{"l0.q": L0_Q | {"data_offsets": [0, 2**40], "shape": [2**39, 1]}}),
        ["not a safetensors file"],
    ),
    "data before the file": (
        file_bytes(TENSORS, METADATA, **{"l0.q": L0_Q | {"data_offsets": [-30, 0]}}),
        ["not a safetensors file"],
    ),
    "data backwards": (
        file_bytes(TENSORS, METADATA, **{"l0.q": L0_Q | {"data_offsets": [30, 0]}}),
        ["not a safetensors file"],
    ),
    "data shared by two tensors": (
        file_bytes(TENSORS, METADATA, **{"l1.q": {"dtype": "U16", "shape": [2, 3], "data_offsets": [0, 12]}}),
        ["not a safetensors file"],
    ),
    "shape beyond the data": (
        file_bytes(TENSORS, METADATA, **{"l0.q": L0_Q | {"shape": [3, 6]}}),
        ["not a safetensors file"],
    ),
    "shape whose size wraps": (
        file_bytes(TENSORS, METADATA, **{"l0.q": L0_Q | {"shape": [2**32, 2**32, 15]}}),
        ["not a safetensors file"],
    ),
    "shape of one axis": (
        file_bytes(TENSORS, METADATA, **{"l0.q": L0_Q | {"shape": [15]}}),
        ["layer 0", "[15]"],
    ),
    "shape turned": (
        file_bytes(TENSORS, METADATA, **{"l0.q": L0_Q | {"shape": [5, 3]}}),
        ["layer 0", "sign"],
    ),
    "sign 2": (
        file_bytes(TENSORS | {"l1.sign": np.full((2, 3), 2, np.uint8)}, METADATA),
        ["layer 1", "sign[0, 0]"],
    ),
    "layers that do not meet": (
        file_bytes(
            TENSORS | {"l1.q": np.ones((2, 4), np.uint16), "l1.sign": np.zeros((2, 4), np.uint8)}, METADATA
        ),
        ["layer 1", "4 inputs", "3 outputs"],
    ),
    "bias that overflows": (
        file_bytes(
            TENSORS
            | {
                "l1.q": np.ones((2, 3), np.uint16),
                "l1.sign": np.zeros((2, 3), np.uint8),
                "l1.bias": np.array([0, 2**31 - 1], np.int32),
            },
            METADATA,
        ),
        ["layer 1", "output 1", "32-bit"],
    ),
    "1025 outputs": (
        file_bytes(
            {
                "l0.q": np.ones((1025, 1), np.uint16),
                "l0.sign": np.zeros((1025, 1), np.uint8),
                "l0.bias": np.zeros(1025, np.int32),
            },
            with_header(shifts=[], classes=["c"] * 1025),
        ),
        ["layer 0", "1025", "1024"],
    ),
    "an accumulator that overflows": (
        file_bytes(
            {
                "l0.q": np.ones((2, 33000), np.uint16),
                "l0.sign": np.zeros((2, 33000), np.uint8),
                "l0.bias": np.zeros(2, np.int32),
            },
            with_header(shifts=[], a=8),
        ),
        ["layer 0", "output 0", str(33000 * 255), "24-bit"],
    ),
    "a pickle": (pickle.dumps({"l0.q": TENSORS["l0.q"]}), ["not a safetensors file"]),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), ["not a safetensors file"]),
    "a text": (b"these are the weights that you asked for\n" * 9, ["not a safetensors file"]),
}


def test_the_writer_of_hostile_files_can_write_a_sound_one(tmp_path: Path) -> None:
    path = tmp_path / "sound.safetensors"
    path.write_bytes(SOUND)
    same(load(path), model())


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_in_one_line(tmp_path: Path, name: str) -> None:
    content, words = HOSTILE[name]
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(content)
    with pytest.raises(SynflipError) as error:
        load(path)
    one_line(str(error.value), str(path), *words)
    assert len(str(error.value)) < 400 + len(str(path))


class _Bomb:
    """Leaves a file behind if it is ever unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_never_runs(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "it ran"
    path = tmp_path / "m.safetensors"
    path.write_bytes(pickle.dumps(_Bomb(mark), protocol))
    with pytest.raises(SynflipError, match="not a safetensors file"):
        load(path)
    assert not mark.exists()
    pickle.loads(path.read_bytes())
    assert mark.exists()  # the bomb was live


def test_what_is_no_model_and_no_path(tmp_path: Path) -> None:
    with pytest.raises(
        SynflipError, match="is to hold a compiled model, not a dict: compile a trained network"
    ):
        save({}, tmp_path / "m.safetensors")  # type: ignore[arg-type]
    for path in (None, 5, b"m"):
        with pytest.raises(SynflipError, match=r"a file to be written needs a path, not "):
            save(model(), path)  # type: ignore[arg-type]
        with pytest.raises(SynflipError, match=r"a compiled model is read from a path, not from "):
            load(path)  # type: ignore[arg-type]
    with pytest.raises(SynflipError, match="it is the name of a folder"):
        save(model(), f"{tmp_path}/new/")
    assert not list(tmp_path.iterdir())


def test_no_such_file(tmp_path: Path) -> None:
    path = tmp_path / "missing.safetensors"
    with pytest.raises(SynflipError) as error:
        load(path)
    one_line(str(error.value), str(path), "No such file")


def test_a_directory(tmp_path: Path) -> None:
    with pytest.raises(SynflipError) as error:
        load(tmp_path)
    one_line(str(error.value), str(tmp_path), "directory")


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    """Two terabytes, none of them on the disk."""
    path = tmp_path / "huge.safetensors"
    with path.open("wb") as file:
        file.write(SOUND)
        file.truncate(1 << 41)
    with pytest.raises(SynflipError) as error:
        load(path)
    one_line(str(error.value), str(path), str(1 << 41))


@given(st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_changed_bytes_are_refused_or_make_a_checked_model(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    """Whatever the bytes: a model that passed its checks, or one line; never another exception."""
    content = bytearray(SOUND)
    for place, value in changes:
        content[place] = value
    path = tmp_path_factory.getbasetemp() / "changed.safetensors"
    path.write_bytes(content)
    try:
        made = load(path)
    except SynflipError as error:
        one_line(str(error), str(path))
    else:
        made.activations(np.zeros((1, 5), np.uint8))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(st.sampled_from(["version", "k", "a", "shifts", "classes", "input", "source"]), ANYTHING)
)
@settings(max_examples=300, deadline=None)
def test_any_metadata_is_refused_or_makes_a_checked_model(changes: dict[str, Any]) -> None:
    try:
        made = from_tensors(TENSORS, with_header(**changes))
    except SynflipError as error:
        one_line(str(error))
    else:
        assert made.metadata()  # what was taken can be written


@given(
    st.dictionaries(st.sampled_from(["dtype", "shape", "data_offsets"]), ANYTHING),
    st.sampled_from(["l0.q", "l1.bias", "other"]),
)
@settings(max_examples=300, deadline=None)
def test_any_tensor_entry_is_refused_or_makes_a_checked_model(
    tmp_path_factory: pytest.TempPathFactory, entry: dict[str, Any], name: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "entry.safetensors"
    path.write_bytes(file_bytes(TENSORS, METADATA, **{name: L0_Q | entry}))
    try:
        load(path)
    except SynflipError as error:
        one_line(str(error), str(path))
