"""What may be asked of a device, checked once, the same way for all."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from synflip.errors import SynflipError
from synflip.spec.lfsr import MASK64
from synflip.spec.model import CompiledModel, Images
from synflip.spec.sizes import key_offsets

SAMPLE_LIMIT = 1 << 31  # votes are int32
MAX_LOGIT_BYTES = 1 << 30

#: Called with (done, total), in network samples times images.
Progress = Callable[[int, int], None]
#: The least lead, in votes, with which an image leaves: the same after every network sample, or [samples].
Margin = int | NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class InferenceRequest:
    """One inference of a compiled model. It is checked when it is made, so no device checks it again.

    model: what runs. pixels: images [N, I], which are read block by block.
    samples: S, network samples. seed: of the LFSR, 0..2**64-1; tunnel junctions have none.
    margin: early stopping. An image leaves after the first network sample s in which its leader is at least
        margin (margin[s]) votes ahead of its runner-up. None: no image leaves.
    logits: keep the logits of every network sample.
    keys: uint64 [S, R], the contract's keys of each network sample. The device uses them in place of its own
        source, so a run can be replayed.
    keep_keys: keep the keys that were used. Only one batch of images can keep them.
    first: number of the first network sample. A part of an inference has another than 0; then no image can
        leave early, and no keys can be given.

    Raises SynflipError for a request that no device could answer.
    """

    model: CompiledModel
    pixels: Images
    samples: int
    seed: int
    margin: Margin | None = None
    logits: bool = False
    keys: NDArray[np.uint64] | None = None
    keep_keys: bool = False
    first: int = 0
    #: Margins by network sample, int64 [S], or None.
    limits: NDArray[np.int64] | None = field(init=False)

    def __post_init__(self) -> None:
        self.model.check_images(self.pixels)
        object.__setattr__(self, "limits", check_samples(self.samples, self.seed, self.margin))
        self._check_first()
        self._check_keys()

    @property
    def early(self) -> bool:
        """Whether images may leave early."""
        return self.limits is not None

    @property
    def key_rows(self) -> int:
        """R, keys of one network sample."""
        return key_offsets(self.model.rows)[1]

    def _check_first(self) -> None:
        first, samples = self.first, self.samples
        if not 0 <= first < SAMPLE_LIMIT or first + samples > SAMPLE_LIMIT:
            raise SynflipError(f"samples {first}..{first + samples - 1} are not in 0..2**31-1")
        if first and self.margin is not None:
            raise SynflipError(
                f"samples from {first} on cannot stop early: whether an image stays depends on the samples "
                "before"
            )
        if first and self.keys is not None:
            raise SynflipError("keys are of the samples wanted, from the first on: leave out first")

    def _check_keys(self) -> None:
        keys, wanted = self.keys, (self.samples, self.key_rows)
        if keys is not None and (keys.dtype != np.uint64 or keys.shape != wanted):
            raise SynflipError(
                f"keys must be uint64 {list(wanted)}, one for each sample and padded row, "
                f"not {keys.dtype} {list(keys.shape)}"
            )


def check_samples(samples: int, seed: int, margin: Margin | None = None) -> NDArray[np.int64] | None:
    """Margins as int64 [samples], or None. Raises SynflipError for numbers that no device could take."""
    if not 1 <= samples < SAMPLE_LIMIT:
        raise SynflipError(f"samples must be in 1..2**31-1, not {samples}")
    if not 0 <= seed <= MASK64:
        raise SynflipError(f"the seed must be in 0..2**64-1, not {seed}")
    if margin is None:
        return None
    if isinstance(margin, int):
        margin = np.full(samples, min(margin, SAMPLE_LIMIT), dtype=np.int64)
    limits = np.asarray(margin)
    if limits.shape != (samples,) or not np.issubdtype(limits.dtype, np.integer):
        raise SynflipError(
            f"margins must be {samples} integers, one a sample, not {limits.dtype} {list(limits.shape)}"
        )
    if int(limits.min()) < 0:
        raise SynflipError(
            f"margins must not be negative; margin {int(limits.argmin())} is {int(limits.min())}"
        )
    return np.minimum(limits, SAMPLE_LIMIT).astype(np.int64)  # no lead is as large


def check_logits(samples: int, images: int, classes: int) -> None:
    """Refuse, before the work, logits that would take too much memory. Raises SynflipError."""
    size = 4 * samples * images * classes
    if size > MAX_LOGIT_BYTES:
        raise SynflipError(
            f"the logits of {samples} samples of {images} images take {size} bytes; "
            f"at most {MAX_LOGIT_BYTES} are kept: take fewer images or samples"
        )
