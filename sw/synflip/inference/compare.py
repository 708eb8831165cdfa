"""Two results of one inference, number by number; and one result against the labels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synflip.inference.result import Result

#: What is compared, in the order in which a difference is looked for: logits first, for they name the sample.
QUANTITIES = ("logits", "logit_sums", "votes", "soft_votes", "energy_sums", "used", "cycles")
#: What the indices of each mean.
_AXES = {
    "logits": ("sample", "image", "class"),
    "logit_sums": ("image", "class"),
    "votes": ("image", "class"),
    "soft_votes": ("image", "class"),
    "energy_sums": ("image",),
    "used": ("image",),
    "cycles": (),
}


@dataclass(frozen=True)
class Comparison:
    """How two results differ.

    compared, different: how many numbers of each quantity. first: the first difference in words, or None.
    """

    compared: dict[str, int]
    different: dict[str, int]
    first: str | None

    @property
    def equal(self) -> bool:
        """Whether every number is the same."""
        return not any(self.different.values())


def compare(golden: Result, other: Result, name: str) -> Comparison:
    """Compare ``other``, of the device called ``name``, with the golden model's. Logits need not have been
    kept, nor soft votes asked for."""
    compared: dict[str, int] = {}
    different: dict[str, int] = {}
    first = None
    for quantity in QUANTITIES:
        if getattr(golden, quantity) is None and getattr(other, quantity) is None:
            continue
        want, have = (np.asarray(getattr(result, quantity)) for result in (golden, other))
        words = quantity.replace("_", " ")
        compared[words] = want.size
        if want.dtype == object or have.dtype == object or want.shape != have.shape:
            different[words] = want.size
            difference = f"{words}: golden has shape {list(want.shape)}, {name} {list(have.shape)}"
        else:
            where = np.argwhere(want != have)
            different[words] = len(where)
            if not len(where):
                continue
            at = tuple(int(index) for index in where[0])
            place = "".join(f" {axis} {index}," for axis, index in zip(_AXES[quantity], at, strict=True))
            difference = f"{words}:{place} golden {want[at]}, {name} {have[at]}"
        first = first or difference
    return Comparison(compared, different, first)


def accuracies(result: Result, labels: NDArray[np.integer]) -> tuple[float, float]:
    """Share of right answers, 0..1: of one network sample (mean over all; logits needed), and of the vote."""
    if result.logits is None:
        raise ValueError("accuracy of one sample needs the logits")
    return float((result.logits.argmax(2) == labels).mean()), float((result.winner == labels).mean())
