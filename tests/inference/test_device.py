"""What all devices share: a model or its path is loaded, and a request is checked when it is made."""

from pathlib import Path

import numpy as np
import pytest
from synflip import modelfile
from synflip.devices.accelerator import Accelerator
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.inference.request import InferenceRequest
from synflip.inference.result import Tally
from synflip.spec import memory_map
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
            SynflipError, match="a device loads a compiled model or the path of one, not a dict"
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


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"samples": 0}, "samples must be in 1"),
        ({"seed": -1}, "the seed must be in 0"),
        ({"margin": np.array([1, 2])}, "margins must be 4 integers"),
        ({"first": 3, "margin": 1}, "cannot stop early"),
        ({"first": 3, "keys": np.zeros((4, 8), np.uint64)}, "leave out first"),
        ({"keys": np.zeros((4, 7), np.uint64)}, r"keys must be uint64 \[4, 8\]"),
        ({"pixels": np.zeros((3, 5), np.uint8)}, r"images have shape \[3, 5\]"),
        ({"pixels": np.zeros((3, 4), np.float32)}, "images are float32"),
    ],
)
def test_a_request_that_makes_no_sense(change: dict, line: str) -> None:
    with pytest.raises(SynflipError, match=line):
        InferenceRequest(**({"model": model(), "pixels": IMAGES, "samples": 4, "seed": 0} | change))


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
