"""What a device gives back: votes, sums, samples used, cycles; and how sure to be."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Result:
    """Counts of one inference over N images and C classes.

    votes: int32 [N, C], network samples won by each class. logit_sums: int64 [N, C], sums of the logits over
        the
    samples used. used: int32 [N], network samples that each image took part in. cycles: clock cycles of the
    engine,
    from start to done, summed over its runs. logits: int32 [S, N, C] if kept, 0 where an image had already
    left.
    """

    votes: NDArray[np.int32]
    logit_sums: NDArray[np.int64]
    used: NDArray[np.int32]
    cycles: int
    logits: NDArray[np.int32] | None = None

    @property
    def winner(self) -> NDArray[np.int64]:
        """[N] class with the most votes; ties go to the lowest index."""
        return self.votes.argmax(1)

    @property
    def runner_up(self) -> NDArray[np.int64]:
        """[N] class with the second most votes; ties go to the lowest index. The only class, if there is
        one."""
        rest = self.votes.astype(np.int64)
        if rest.shape[1] > 1:
            rest[np.arange(len(rest)), self.winner] = -1
        return rest.argmax(1)

    @property
    def entropy(self) -> NDArray[np.float64]:
        """[N] entropy of the votes in bits: 0 if every sample agreed."""
        share = self.votes / np.maximum(self.votes.sum(1, keepdims=True), 1)
        return -(share * np.log2(np.where(share > 0, share, 1.0))).sum(1) + 0.0

    def save(self, path: str | Path) -> None:
        """Write an ``.npz`` with ``votes``, ``logit_sums``, ``used``, ``cycles`` and, if kept, ``logits``."""
        arrays: dict[str, Any] = {
            "votes": self.votes,
            "logit_sums": self.logit_sums,
            "used": self.used,
            "cycles": np.int64(self.cycles),
        }
        if self.logits is not None:
            arrays["logits"] = self.logits
        with Path(path).open("wb") as file:
            np.savez_compressed(file, **arrays)
