"""Features: the description of an extractor that makes a model's activations from pixels."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from synflip.errors import SynflipError

KIND = "fixed"  # the same features in every network sample
BLOCK = 32  # images at once, always: what an image's features are does not depend on how many there are
MAX_PIXELS = 1 << 20  # of an image
MAX_LOG2_STEP = 64


class Extractor(Protocol):
    """A function of images that travels as a file. content: its bytes."""

    content: bytes

    def __call__(self, images: NDArray[np.integer]) -> NDArray[np.float64]:
        """Features [N, F] of images [N, C, H, W], pixels in 0..input_max. Raises SynflipError."""
        ...


@dataclass(frozen=True, eq=False)
class Features:
    """How pixels become a model's images: min(max(floor(feature / 2**log2_step + 1/2), 0), 2**A - 1).

    sha256: of the extractor's file, in hexadecimal. shape: of an image: channels, height, width. input_max:
    the largest pixel. extractor: None if its file is not at hand. Raises SynflipError for values that make no
    sense.
    """

    sha256: str
    shape: tuple[int, int, int]
    input_max: int
    log2_step: int
    extractor: Extractor | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.sha256, str) or not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise SynflipError(f"`sha256` of the features is {self.sha256!r}, not 64 hexadecimal digits")
        if len(self.shape) != 3 or not all(_whole(size, 1, MAX_PIXELS) for size in self.shape):
            raise SynflipError(f"`shape` of the features is {self.shape!r}, not channels, height, width")
        if self.pixels > MAX_PIXELS:
            raise SynflipError(f"the features' images have {self.pixels} pixels; at most {MAX_PIXELS}")
        if not _whole(self.input_max, 1, 65535):
            raise SynflipError(f"`max` of the features is {self.input_max!r}, not an integer in 1..65535")
        if not _whole(self.log2_step, -MAX_LOG2_STEP, MAX_LOG2_STEP):
            raise SynflipError(
                f"`log2_step` of the features is {self.log2_step!r}, not in -{MAX_LOG2_STEP}..{MAX_LOG2_STEP}"
            )

    @property
    def pixels(self) -> int:
        """Pixels of an image, all channels."""
        return math.prod(self.shape)

    def rows(self, images: NDArray[np.integer], count: int, largest: int) -> NDArray[np.uint8]:
        """Images [N, pixels] in 0..input_max to features [N, count] in 0..``largest``, or SynflipError."""
        blocks = self.blocks(images, count)
        out = np.zeros((len(images), count), dtype=np.uint8)
        for start, features in blocks:
            out[start : start + BLOCK] = quantised(features, self.log2_step, largest)
        return out

    def blocks(self, images: NDArray[np.integer], count: int) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Features of images [N, pixels], block by block: the number of the first image, and float64
        [at most BLOCK, count]. Raises SynflipError."""
        if self.extractor is None:
            raise SynflipError(
                f"this model wants {count} features of an image, and the file that makes them is not beside "
                "it: put its M.features.pt2 beside M.safetensors"
            )
        extractor = self.extractor
        return (
            (start, self._block(extractor, images[start : start + BLOCK], start, count))
            for start in range(0, len(images), BLOCK)
        )

    def _block(
        self, extractor: Extractor, part: NDArray[np.integer], start: int, count: int
    ) -> NDArray[np.float64]:
        """Features of at most BLOCK images, of which ``start`` is the first."""
        block = np.zeros((BLOCK, *self.shape), dtype=part.dtype)
        block[: len(part)] = part.reshape(-1, *self.shape)
        features = extractor(block)
        if features.shape != (BLOCK, count):
            raise SynflipError(
                f"{BLOCK} images have features of shape {list(features.shape)}, not [{BLOCK}, {count}]"
            )
        features = features[: len(part)]
        finite = np.isfinite(features).all(1)
        if not finite.all():
            raise SynflipError(f"features of image {start + int(finite.argmin())} are not finite")
        return features

    def metadata(self) -> dict[str, Any]:
        """``features`` of the model file's metadata."""
        return {
            "kind": KIND,
            "sha256": self.sha256,
            "shape": list(self.shape),
            "max": self.input_max,
            "log2_step": self.log2_step,
        }

    @classmethod
    def from_metadata(cls, value: Any) -> "Features":
        """From ``features`` of a model file's metadata. Raises SynflipError."""
        if not isinstance(value, dict) or not isinstance(value.get("shape"), list):
            raise SynflipError("`features` of the `synflip` metadata must be an object with a shape")
        if value.get("kind") != KIND:
            raise SynflipError(f"features of kind {value.get('kind')!r}; this synflip knows {KIND}")
        missing: Any = None
        return cls(
            value.get("sha256", missing),
            tuple(value["shape"]),  # type: ignore[arg-type]  # checked by Features
            value.get("max", missing),
            value.get("log2_step", missing),
        )


def quantised(features: NDArray[np.floating], log2_step: int, largest: int) -> NDArray[np.uint8]:
    """Features in steps of 2**log2_step: uint8 in 0..``largest``, the same shape."""
    steps = np.floor(features * 2.0**-log2_step + 0.5)
    return np.clip(steps, 0, largest).astype(np.uint8)


def _whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
