"""From votes and logits to answers: entropies, aggregates, soft votes, temperature, metrics.

Imports ``synflip.util``, ``synflip.spec`` and ``synflip.errors``. The names below need numpy and scipy;
``synflip.uncertainty.metrics`` needs torch and scikit-learn too, so it is imported by its own name.
"""

from synflip.uncertainty.aggregate import AGGREGATES, second_choice
from synflip.uncertainty.scores import (
    energy,
    entropy,
    lead,
    mutual_information,
    softmax,
    softmax_moments,
)

__all__ = [
    "AGGREGATES",
    "energy",
    "entropy",
    "lead",
    "mutual_information",
    "second_choice",
    "softmax",
    "softmax_moments",
]
