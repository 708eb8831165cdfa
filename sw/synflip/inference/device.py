"""What runs a compiled model. Every device has one interface, and all give equal results."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from synflip.inference.result import Result
from synflip.spec.geometry import Geometry
from synflip.spec.model import CompiledModel, Images

#: Called with (done, total), in network samples times images.
Progress = Callable[[int, int], None]
#: The least lead, in votes, with which an image leaves: the same after every network sample, or [samples].
Margin = int | NDArray[np.integer]


class Device(Protocol):
    """Anything that runs a compiled model; a context manager that frees what it holds.

    geometry: of the accelerator; that whose cycles are predicted, if there is none.
    """

    name: str
    geometry: Geometry

    def load(self, model: CompiledModel) -> None:
        """Make ``model`` the one that runs. Raises SynflipError if it does not fit, saying what is short."""

    def infer(
        self,
        pixels: Images,
        samples: int,
        seed: int,
        margin: Margin | None = None,
        logits: bool = False,
        progress: Progress | None = None,
        keys: NDArray[np.uint64] | None = None,
        keep_keys: bool = False,
        first: int = 0,
    ) -> Result:
        """Votes of network samples first..first+samples-1 for pixels [N, I], which are read block by block.

        margin: early stopping: an image leaves after the first sample s in which its leader is at least
            margin (margin[s]) votes ahead of its runner-up. logits: keep the logits of every sample.
        keys: [samples, R], the contract's keys of each network sample, to be used instead of the source's, so
            that a run can be replayed. keep_keys: keep the keys that were used; for at most one batch of
            images. seed: of the LFSR; tunnel junctions have none.
        first: not 0 for a part of an inference; then images cannot stop early, nor keys be given.
        Raises SynflipError for a request or pixels that make no sense. Ctrl-C leaves the device usable.
        """
        ...

    def stream(
        self,
        blocks: Iterable[NDArray[np.uint8]],
        samples: int,
        seed: int,
        margin: Margin | None = None,
        logits: bool = False,
    ) -> Iterator[Result]:
        """A result for each block of images, as they come. A block is taken when its result is asked for.

        The engine is kept busy from batch to batch of a block, not from block to block: take blocks of many
        images.
        """
        for pixels in blocks:
            yield self.infer(pixels, samples, seed, margin, logits)

    def __enter__(self) -> "Device": ...

    def __exit__(self, *exc: object) -> None: ...
