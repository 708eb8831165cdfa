"""What all devices share: a model or its path is loaded, and a request is checked when it is made."""

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from synflip import modelfile
from synflip.devices.accelerator import Accelerator
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.inference.request import InferenceRequest
from synflip.inference.result import Tally
from synflip.spec import memory_map
from synflip.spec.features import Features
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import REGISTERS, Region, address
from synflip.spec.model import CompiledModel, Layer

IMAGES = np.arange(12, dtype=np.uint8).reshape(3, 4)


def model() -> CompiledModel:
    rng = np.random.default_rng(5)
    layer = Layer(
        rng.integers(0, 16, (3, 4)).astype(np.uint16), np.zeros((3, 4), np.uint8), np.zeros(3, np.int32)
    )
    return CompiledModel((layer,), 4, 8, (), ("a", "b", "c"), 255)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    modelfile.save(model(), tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


class Memory:
    """A transport to words that only remember: enough to load a model."""

    def __init__(self, geometry: Geometry) -> None:
        self.words: dict[int, int] = {}
        values = {"MAGIC": memory_map.MAGIC, "VERSION": memory_map.VERSION}
        for name, item in REGISTERS.items():
            value = values.get(name, getattr(geometry, name.lower(), 0))
            self.words[address(Region.REGISTERS, item.offset)] = value

    def write(self, address: int, words: np.ndarray) -> None:
        self.words |= {address + place: int(word) for place, word in enumerate(words)}

    def read(self, address: int, count: int) -> np.ndarray:
        return np.array([self.words.get(address + place, 0) for place in range(count)], dtype=np.uint32)

    def wait(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_is_loaded_like_the_model_in_it(file: Path, kind: type) -> None:
    with Golden() as by_path, Golden() as by_model:
        by_path.load(kind(file))
        by_model.load(model())
        have, want = (device.infer(IMAGES, 5, 1, logits=True) for device in (by_path, by_model))
    assert np.array_equal(have.logits, want.logits)  # type: ignore[arg-type]


def test_an_accelerator_loads_a_path_too(file: Path) -> None:
    written = []
    for loaded in (file, model()):
        transport = Memory(Geometry(16, 1))
        with Accelerator(transport) as device:
            device.load(loaded)
        written.append(transport.words)
    assert written[0] == written[1]
    assert len(written[0]) > len(REGISTERS)


def test_what_is_no_model_is_refused_in_a_line(tmp_path: Path) -> None:
    with Golden() as device:
        with pytest.raises(SynflipError, match=r"missing\.safetensors"):
            device.load(tmp_path / "missing.safetensors")
        with pytest.raises(
            SynflipError, match="what runs is a compiled model or the path of one, not a dict"
        ):
            device.load({})  # type: ignore[arg-type]
        with pytest.raises(SynflipError, match="no model loaded"):
            device.infer(IMAGES, 1, 1)


def test_a_request_knows_its_margins() -> None:
    assert InferenceRequest(model(), IMAGES, 4, 0).limits is None
    request = InferenceRequest(model(), IMAGES, 4, 0, margin=3)
    assert request.early
    assert request.limits is not None and request.limits.tolist() == [3, 3, 3, 3]
    assert request.key_rows == 8  # four rows, padded to ROW_ALIGN
    tracemalloc.start()
    try:
        many = InferenceRequest(model(), IMAGES, 10**7, 0, margin=3).limits
        assert many is not None and len(many) == 10**7 and many[10**7 - 1] == 3
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"samples": 0}, "samples must be in 1"),
        ({"seed": -1}, "the seed must be in 0"),
        ({"margin": np.array([1, 2])}, "margins must be 4 integers"),
        ({"margin": -5}, "the margin must not be negative, not -5"),
        ({"first": 3, "margin": 1}, "cannot stop early"),
        ({"first": 3, "keys": np.zeros((4, 8), np.uint64)}, "leave out first"),
        ({"keys": np.zeros((4, 7), np.uint64)}, r"keys must be uint64 \[4, 8\]"),
        ({"pixels": np.zeros((3, 5), np.uint8)}, r"images have shape \[3, 5\]"),
        ({"pixels": np.full((3, 4), 0.5, np.float32)}, "images are float32; they are 0.5"),
        ({"pixels": IMAGES / 3}, r"not an integer in 0..255; they are"),
    ],
)
def test_a_request_that_makes_no_sense(change: dict, line: str) -> None:
    with pytest.raises(SynflipError, match=line):
        InferenceRequest(**({"model": model(), "pixels": IMAGES, "samples": 4, "seed": 0} | change))


def features_model() -> CompiledModel:
    """Its images are pictures of 2x3 in two channels, of which it has no extractor here."""
    plain = model()
    return replace(plain, input_max=255, features=Features("0" * 64, (2, 2, 3), 255, 0))


class Frame:
    """What pandas has: numbers behind ``__array__``."""

    shape, ndim, dtype = (3, 4), 2, np.dtype(np.int64)

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        return IMAGES.astype(np.int64)


@pytest.mark.parametrize(
    "pixels",
    [
        IMAGES.tolist(),
        tuple(map(tuple, IMAGES.tolist())),
        torch.from_numpy(IMAGES),
        torch.from_numpy(IMAGES).long(),
        [torch.from_numpy(row) for row in IMAGES],
        [list(map(np.int64, row)) for row in IMAGES],
        np.asfortranarray(IMAGES),
        np.ma.masked_array(IMAGES, np.zeros((3, 4), bool)),
        IMAGES.astype(">i4"),
        IMAGES.astype(object),
        IMAGES.astype(np.float64),  # as scikit-learn's digits are
        torch.from_numpy(IMAGES).bfloat16(),
        IMAGES.reshape(3, 2, 2),
        IMAGES.reshape(3, 1, 2, 2),
        IMAGES.reshape(3, 2, 2, 1),
        torch.from_numpy(IMAGES).reshape(3, 1, 2, 2),
        IMAGES.reshape(3, 2, 2).tolist(),
        Frame(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_images_as_people_have_them(pixels: object) -> None:
    with Golden() as device:
        device.load(model())
        want, have = device.infer(IMAGES, 5, 1, logits=True), device.infer(pixels, 5, 1, logits=True)  # type: ignore[arg-type]
    assert np.array_equal(have.logits, want.logits)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [str, Path])
def test_images_by_their_path(tmp_path: Path, kind: type) -> None:
    np.save(tmp_path / "x.npy", IMAGES)
    assert np.array_equal(InferenceRequest(model(), kind(tmp_path / "x.npy"), 4, 0).pixels[:], IMAGES)
    with pytest.raises(SynflipError, match=r"none\.npy is missing"):
        InferenceRequest(model(), kind(tmp_path / "none.npy"), 4, 0)


def test_colour_of_a_model_that_knows_its_shape() -> None:
    pixels = np.arange(36).reshape(3, 2, 2, 3)
    request = InferenceRequest(features_model(), pixels, 4, 0)
    assert request.pixels.shape == (3, 12)
    assert request.pixels[:].tolist() == pixels.reshape(3, 12).tolist()
    with pytest.raises(SynflipError, match=r"channels come first, images.transpose\(0, 3, 1, 2\)"):
        InferenceRequest(features_model(), pixels.transpose(0, 2, 3, 1), 4, 0)


@pytest.mark.parametrize(
    "pixels",
    [
        None, "", {}, [], [[1, 2, 3]], [[1, 2], [3]], [[0.5] * 4], [["a"] * 4], [[True] * 4],
        np.zeros((3, 4), complex),
        np.zeros(4, np.uint8), np.zeros((2, 2), np.uint8), np.array(3), np.zeros((1, 1, 4, 1, 1), np.uint8),
        np.zeros((3, 2, 2, 4), np.uint8), np.ma.masked_array(IMAGES, IMAGES == 3), torch.full((3, 4), 0.5),
        torch.full((3, 4), 0.5, requires_grad=True), torch.full((3, 4), 0.5, dtype=torch.bfloat16),
        np.full((3, 4), -1), np.full((3, 4), 256), np.full((3, 4), 2**63, np.uint64), [[10**30] * 4], 7,
        pytest.param(object(), id="object"),
    ],
    ids=str,
)  # fmt: skip
def test_images_that_are_none_in_a_line(pixels: object) -> None:
    with pytest.raises(SynflipError) as error:
        InferenceRequest(model(), pixels, 4, 0)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_channels_last_are_not_taken_for_rows() -> None:
    """Without a shape a model cannot tell [N, H, C] from [N, H, W]."""
    zeros = Layer(np.zeros((2, 12), np.uint16), np.zeros((2, 12), np.uint8), np.zeros(2, np.int32))
    colour = CompiledModel((zeros,), 4, 8, (), ("a", "b"), 255)
    for shape in ((1, 4, 3), (1, 2, 2, 3), (1, 3, 2, 2)):
        with pytest.raises(SynflipError, match=r"not \[N, 12\]"):
            InferenceRequest(colour, np.zeros(shape, np.uint8), 4, 0)


@pytest.mark.parametrize("one", [1, np.int64(1), np.uint8(1), np.uint64(1), 1.0, np.float32(1), np.array(1)])
def test_numbers_by_one_rule(one: Any) -> None:
    """Integers of Python and of numpy, and floats that are whole."""
    want = InferenceRequest(model(), IMAGES, 1, 1, margin=1)
    lead = one[()] if isinstance(one, np.ndarray) else one  # an array of margins has an axis
    have = InferenceRequest(model(), IMAGES, one, one, margin=lead, first=one - 1)
    for name in ("samples", "seed", "first"):
        value = getattr(have, name)
        assert type(value) is int and value == getattr(want, name)
    assert have.limits is not None and have.limits.tolist() == [1] and have.limits.dtype == np.int64


@pytest.mark.parametrize(
    "margin", [[1, 2], (1, 2), torch.tensor([1, 2]), np.array([1.0, 2.0]), np.array([1, 2], "u1")]
)
def test_margins_as_people_have_them(margin: Any) -> None:
    request = InferenceRequest(model(), IMAGES, 2, 1, margin=margin)
    assert request.limits is not None and request.limits.tolist() == [1, 2]


def test_keys_as_people_have_them() -> None:
    keys = np.arange(16, dtype=np.uint64).reshape(2, 8) + np.uint64(2**63)
    for form in (keys, keys.tolist(), torch.from_numpy(keys)):
        request = InferenceRequest(model(), IMAGES, 2, 1, keys=form)
        assert request.keys is not None and request.keys.dtype == np.uint64
        assert np.array_equal(request.keys, keys)
    assert InferenceRequest(model(), IMAGES, 2, 1, keys=np.ones((2, 8), int)).keys is not None  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["samples", "seed", "first", "margin"])
@pytest.mark.parametrize(
    "value",
    [
        True,
        np.True_,
        1.5,
        float("nan"),
        float("inf"),
        "4",
        [[1]],
        {},
        2j,
        -1,
        2**70,
        pytest.param(object(), id="object"),
    ],
)
def test_numbers_that_are_none(name: str, value: Any) -> None:
    if name == "margin" and isinstance(value, int) and value > 1:
        return  # no lead is as large: the image stays
    with pytest.raises(SynflipError) as error:
        InferenceRequest(**({"model": model(), "pixels": IMAGES, "samples": 4, "seed": 0} | {name: value}))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["logits", "keep_keys"])
def test_a_flag_is_true_or_false(name: str) -> None:
    with pytest.raises(SynflipError, match=f"{name} must be True or False, not 'no'"):
        InferenceRequest(model(), IMAGES, 4, 0, **{name: "no"})  # type: ignore[arg-type]
    assert getattr(InferenceRequest(model(), IMAGES, 4, 0, **{name: np.True_}), name) is True  # type: ignore[arg-type]


@pytest.mark.parametrize("progress", ["yes", 1, []])
def test_progress_that_cannot_be_called_is_refused(progress: Any) -> None:
    with Golden() as device:
        device.load(model())
        with pytest.raises(SynflipError, match=r"True, or a function of \(done, total\), not "):
            device.infer(IMAGES, 5, 1, progress=progress)


def test_progress_true_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is a terminal; a function is called as before; False is nothing."""
    seen: list[tuple[str, int, int]] = []

    @contextmanager
    def noted(what: str) -> Iterator[Callable[[int, int], None]]:
        yield lambda done, total: seen.append((what, done, total))

    monkeypatch.setattr("synflip.util.progress.bar", noted)
    with Golden() as device:
        device.load(model())
        device.infer(IMAGES, 5, 1, progress=True)
        assert seen[-1] == ("Flipping coins", 15, 15)
        seen.clear()
        device.infer(IMAGES, 5, 1, progress=False)
        device.infer(IMAGES, 5, 1)
        assert not seen
        device.infer(IMAGES, 5, 1, progress=lambda done, total: seen.append(("own", done, total)))
        assert seen[-1] == ("own", 15, 15)


def test_a_model_is_shown_in_three_lines() -> None:
    text = repr(model())
    assert text == "CompiledModel 4-3, 12 synapses, k = 4, A = 8\n  pixels 0..255\n  3 classes: a, b, c"
    assert "features of images [2, 2, 3]" in repr(features_model())
    assert repr(model().layers) == "(Layer of 4 inputs, 3 outputs,)"


def test_rows_of_a_tally_are_views() -> None:
    whole = Tally.zeros(samples=2, images=5, classes=3, logits=True)
    part = whole.of(slice(1, 3))
    part.votes[:] += 1
    part.used[:] = 2
    assert part.logits is not None and whole.logits is not None
    part.logits[1] = 7
    assert whole.votes.sum(1).tolist() == [0, 3, 3, 0, 0]
    assert whole.used.tolist() == [0, 2, 2, 0, 0]
    assert whole.logits[1, :, 0].tolist() == [0, 7, 7, 0, 0]
