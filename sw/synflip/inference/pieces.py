"""Pieces of a request, which are computed anywhere and in any order, and their results put together.

A piece is some images and some network samples of them. A network sample is a function of model, seed and
number, so the sum of all pieces is the whole, to the bit. 100 images x 64 samples can be ten pieces of 10
images x 64 samples; one image x 10,000 samples can be ten pieces of one image x 1,000 samples.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synflip.inference.request import InferenceRequest, QuantizedImages
from synflip.inference.result import SOFT, Result, Tally, sum_of_cycles

PIECE_SECONDS = 10.0  # that a piece takes at most: so much is computed again if a device dies
LEAST_SECONDS = 0.2  # that it takes at least: coins are flipped as often for few images as for many


@dataclass(frozen=True)
class Piece:
    """Numbers of its images, and of its network samples from the request's first one on."""

    images: range
    samples: range

    @property
    def size(self) -> int:
        """Network samples times images."""
        return len(self.images) * len(self.samples)

    def __str__(self) -> str:
        return f"{len(self.images)} images x {len(self.samples)} samples"

    def images_of(self, request: InferenceRequest) -> NDArray[Any]:
        """The piece's images, or features, of any of a request's; in memory, unless they are ``Unread``."""
        rows = slice(self.images.start, self.images.stop)
        pixels = request.pixels
        return pixels.features[rows] if isinstance(pixels, QuantizedImages) else pixels[rows]

    def of(self, request: InferenceRequest, images: NDArray[Any] | None = None) -> InferenceRequest:
        """The piece as a request of its own, whose images are in memory.

        images: those that ``images_of`` gave, if ``request`` does not have them. Raises SynflipError.
        """
        keys = request.keys
        return replace(
            request,
            pixels=self.images_of(request) if images is None else images,
            samples=len(self.samples),
            keys=None if keys is None else keys[self.samples.start : self.samples.stop],
            first=request.first + (self.samples.start if keys is None else 0),
        )


class Uncut:
    """What is left of a request to be cut into pieces.

    Images are cut first. The network samples of one image are cut if ``request`` has no early stopping,
    because whether an image stays depends on the samples before. A request that keeps its keys stays whole.
    """

    def __init__(self, request: InferenceRequest, cut_samples: bool = True) -> None:
        """cut_samples: False of devices whose samples have no numbers, as those of tunnel junctions."""
        self._whole = request.keep_keys
        self._cut_samples = cut_samples and not request.early
        self._left = [Piece(range(len(request.pixels)), range(request.samples))]

    def __bool__(self) -> bool:
        return bool(self._left)

    @property
    def size(self) -> int:
        """Network samples times images that are left."""
        return sum(piece.size for piece in self._left)

    def take(self, size: int) -> Piece:
        """Cut off a piece of about ``size`` network samples times images; at least one of each."""
        piece = self._left.pop()
        images, samples = piece.images, piece.samples
        most = max(size // len(samples), 1)
        if self._whole:
            return piece
        if most < len(images):
            self._left.append(Piece(images[most:], samples))
            return Piece(images[:most], samples)
        if len(images) == 1 and self._cut_samples and 0 < size < len(samples):
            self._left.append(Piece(images, samples[size:]))
            return Piece(images, samples[:size])
        return piece

    def give_back(self, piece: Piece) -> None:
        """Put back a piece that was not computed."""
        self._left.append(piece)


def piece_size(share: float, speed: float, least: int) -> int:
    """Network samples times images of a device's next piece: half of its share of what is left, or so much as
    PIECE_SECONDS and LEAST_SECONDS allow, and ``least``.

    share: network samples times images. speed: the same a second.
    """
    return int(max(least, min(share / 2, speed * PIECE_SECONDS), speed * LEAST_SECONDS))


class Whole:
    """The result of a request, which grows piece by piece. Each piece must be added once.

    tally: where votes, sums, samples used, logits and soft votes are added; None: new arrays.
    """

    def __init__(self, request: InferenceRequest, tally: Tally | None = None) -> None:
        model = request.model
        self._model = model
        self._tally = tally or Tally.zeros(
            request.samples,
            len(request.pixels),
            len(model.classes),
            request.logits,
            request.tables is not None,
        )
        self._cycles = 0
        self._keys: NDArray[np.uint64] | None = None

    def add(self, piece: Piece, result: Result) -> None:
        """Add the ``result`` of a piece."""
        part = self._tally.of(slice(piece.images.start, piece.images.stop))
        part.votes[:] += result.votes
        part.logit_sums[:] += result.logit_sums
        part.used[:] += result.used
        if part.logits is not None and result.logits is not None:
            part.logits[piece.samples.start : piece.samples.stop] = result.logits
        for name in SOFT:
            if (total := getattr(part, name)) is not None and getattr(result, name) is not None:
                total += getattr(result, name)
        self._cycles = sum_of_cycles(self._cycles, result.cycles)
        self._keys = result.keys

    def result(self) -> Result:
        """After the last piece. Its cycles are the sum of the pieces', -1 if one does not know them."""
        return self._tally.result(self._cycles, self._model, self._keys)
