"""The accuracies on the way from an ordinary network to votes of coins."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synflip.training.loop import TEST_BATCH
from synflip.util.threads import one_thread

VOTES = 16  # network samples of a vote
#: Logits [N, C] of activations float32 [N, I], of one network sample whose coins the generator flips.
Sample = Callable[[Tensor, torch.Generator], Tensor]
LOSS = 0.01  # of accuracy; more is said


@dataclass(frozen=True)
class Ladder:
    """Test accuracies, 0..1, of a conversion, and what was said about it.

    original: the ordinary network, in float; None if there was none. converted: a vote of ``votes`` network
    samples before fine-tuning; None if the coins were not converted. one_sample: the mean over ``votes``
    network samples after fine-tuning. vote: a vote of them. agreement: the share of test images, 0..1, that
    this vote and the ordinary network give the same class, right or wrong; None if there was none.
    warnings: one line each.
    """

    original: float | None
    converted: float | None
    one_sample: float
    vote: float
    agreement: float | None
    votes: int = VOTES
    warnings: tuple[str, ...] = ()

    def figures(self) -> dict[str, float]:
        """What is known of each step, for the model's file."""
        known = {
            "accuracy_of_the_network": self.original,
            "accuracy_before_fine_tuning": self.converted,
            "agreement_with_the_network": self.agreement,
            "accuracy_of_one_sample": self.one_sample,
            "accuracy_of_the_vote": self.vote,
            "votes": self.votes,
        }
        return {name: value for name, value in known.items() if value is not None}


def vote_accuracies(
    network: Sample, rows: NDArray[np.uint8], labels: NDArray[np.integer], seed: int
) -> tuple[float, float, NDArray[np.int64]]:
    """Accuracies, 0..1, of one network sample (the mean over VOTES) and of the vote of VOTES, and the vote's
    classes [N].

    network: in evaluation mode. rows: [N, I], activations. labels: [N]. seed: of the coins.
    """
    generator = torch.Generator().manual_seed(seed)
    wanted = torch.from_numpy(labels)
    with torch.no_grad(), one_thread():
        answers = torch.stack([_answers(network, torch.from_numpy(rows), generator) for _ in range(VOTES)])
    right = (answers == wanted).double().mean()
    voted = answers.mode(0).values
    return float(right), float((voted == wanted).double().mean()), voted.numpy()


def _answers(network: Sample, rows: Tensor, generator: torch.Generator) -> Tensor:
    """Classes [N] of activations [N, I]; every TEST_BATCH images have coins of their own."""
    return torch.cat([network(part.float(), generator).argmax(1) for part in rows.split(TEST_BATCH)])
