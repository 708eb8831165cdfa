"""What may be asked of a device, checked the same way for all."""

import numpy as np
from numpy.typing import NDArray

from synflip.errors import SynflipError
from synflip.spec.lfsr import MASK64

SAMPLE_LIMIT = 1 << 31  # votes are int32


def check_request(
    samples: int, seed: int, margin: int | NDArray[np.integer] | None
) -> NDArray[np.int64] | None:
    """Margins as int64 [samples], or None. Raises SynflipError for a request that no device could answer."""
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


def check_first(
    first: int, samples: int, margin: int | NDArray[np.integer] | None, keys: NDArray[np.uint64] | None
) -> None:
    """Raises SynflipError unless an inference may begin with network sample ``first``."""
    if not 0 <= first < SAMPLE_LIMIT or first + samples > SAMPLE_LIMIT:
        raise SynflipError(f"samples {first}..{first + samples - 1} are not in 0..2**31-1")
    if first and margin is not None:
        raise SynflipError(
            f"samples from {first} on cannot stop early: whether an image stays depends on the samples before"
        )
    if first and keys is not None:
        raise SynflipError("keys are of the samples wanted, from the first on: leave out first")


def check_keys(keys: NDArray[np.uint64] | None, samples: int, rows: int) -> None:
    """Raises SynflipError unless ``keys`` are None or uint64 [samples, rows]."""
    if keys is not None and (keys.dtype != np.uint64 or keys.shape != (samples, rows)):
        raise SynflipError(
            f"keys must be uint64 [{samples}, {rows}], one for each sample and padded row, "
            f"not {keys.dtype} {list(keys.shape)}"
        )


MAX_LOGIT_BYTES = 1 << 30


def check_logits(samples: int, images: int, classes: int) -> None:
    """Refuse, before the work, logits that would take too much memory. Raises SynflipError."""
    size = 4 * samples * images * classes
    if size > MAX_LOGIT_BYTES:
        raise SynflipError(
            f"the logits of {samples} samples of {images} images take {size} bytes; "
            f"at most {MAX_LOGIT_BYTES} are kept: take fewer images or samples"
        )
