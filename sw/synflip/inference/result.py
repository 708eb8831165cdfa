"""What a device gives back: votes, sums, samples used, cycles; and how sure to be."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synflip.errors import SynflipError
from synflip.uncertainty.scores import energy, entropy, mutual_information, softmax_moments
from synflip.util.outputs import replacing


@dataclass(frozen=True, eq=False)
class Result:
    """Counts of one inference over N images and C classes.

    votes: int32 [N, C], network samples won by each class. logit_sums: int64 [N, C], sums of the logits over
        the samples used. used: int32 [N], network samples that each image took part in.
    cycles: clock cycles of the engine, from start to done, summed over its runs.
    logits: int32 [S, N, C] if kept, 0 where an image had already left.
    keys: uint64 [S, R], the keys of each network sample, if kept.
    logit_scale: what the model's logits are divided by in a softmax, if the model says.
    """

    votes: NDArray[np.int32]
    logit_sums: NDArray[np.int64]
    used: NDArray[np.int32]
    cycles: int
    logits: NDArray[np.int32] | None = None
    logit_scale: float | None = None
    keys: NDArray[np.uint64] | None = None

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
        return entropy(self.votes / np.maximum(self.votes.sum(1, keepdims=True), 1))

    @property
    def posterior(self) -> NDArray[np.float64]:
        """[N, C] posterior predictive: the mean of the samples' softmaxes. Raises SynflipError without
        logits."""
        return self._moments[0]

    @property
    def mutual_information(self) -> NDArray[np.float64]:
        """[N] mutual information, in bits, of the class and the network sample: entropy of the posterior
        predictive less the mean entropy of the samples' softmaxes. Raises SynflipError without logits."""
        return mutual_information(*self._moments)

    @property
    def energy(self) -> NDArray[np.float64]:
        """[N] energy, in nats: high for images that are of no class. Raises SynflipError without logits."""
        return energy(*self._scaled)

    @cached_property
    def _moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return softmax_moments(*self._scaled)

    @property
    def _scaled(self) -> tuple[NDArray[np.int32], NDArray[np.int32], float]:
        if self.logits is None:
            raise SynflipError("a softmax needs the logits: call infer with logits=True")
        if self.logit_scale is None:
            raise SynflipError("the model's file does not say the scale of its logits (source.logit_scale)")
        return self.logits, self.used, self.logit_scale

    def save(self, path: str | Path) -> None:
        """Write an ``.npz`` with ``votes``, ``logit_sums``, ``used``, ``cycles`` and, if kept, ``logits``;
        whole or not at all. Raises SynflipError."""
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, **self.arrays())

    def arrays(self) -> dict[str, Any]:
        """What ``save`` writes."""
        arrays: dict[str, Any] = {
            "votes": self.votes,
            "logit_sums": self.logit_sums,
            "used": self.used,
            "cycles": np.int64(self.cycles),
        }
        if self.logits is not None:
            arrays["logits"] = self.logits
        return arrays


@dataclass(frozen=True, eq=False)
class Tally:
    """What the runs of one inference add up: the arrays of a Result while they grow.

    votes: int32 [N, C]. logit_sums: int64 [N, C]. used: int32 [N]. logits: int32 [S, N, C], or None.
    """

    votes: NDArray[np.int32]
    logit_sums: NDArray[np.int64]
    used: NDArray[np.int32]
    logits: NDArray[np.int32] | None

    @classmethod
    def zeros(cls, samples: int, images: int, classes: int, logits: bool) -> "Tally":
        """Before the first network sample."""
        return cls(
            np.zeros((images, classes), dtype=np.int32),
            np.zeros((images, classes), dtype=np.int64),
            np.zeros(images, dtype=np.int32),
            np.zeros((samples, images, classes), dtype=np.int32) if logits else None,
        )

    def of(self, images: slice) -> "Tally":
        """Views of the rows of some images: what is added there is added here."""
        logits = None if self.logits is None else self.logits[:, images]
        return Tally(self.votes[images], self.logit_sums[images], self.used[images], logits)

    def result(self, cycles: int, logit_scale: float | None, keys: NDArray[np.uint64] | None) -> Result:
        """After the last network sample."""
        return Result(self.votes, self.logit_sums, self.used, cycles, self.logits, logit_scale, keys)
