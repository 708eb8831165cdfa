"""What runs a compiled model. Every device has one interface, and all give equal results."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from synflip import modelfile
from synflip.errors import SynflipError
from synflip.inference.request import InferenceRequest, Margin, Progress
from synflip.inference.result import Result
from synflip.spec.geometry import Geometry
from synflip.spec.model import CompiledModel, Images


class Device(ABC):
    """Anything that runs a compiled model; a context manager that frees what it holds.

    A device implements ``prepare``, ``run`` and ``close``; the rest is the same for all.

    name: as users name it. model: what was loaded last, or None.
    geometry: of the accelerator. A device that is none has that of the accelerator whose cycles it predicts.
    """

    name: str
    geometry: Geometry
    model: CompiledModel | None = None

    @abstractmethod
    def prepare(self, model: CompiledModel) -> None:
        """Make ``model`` the one that runs. Raises SynflipError if it does not fit, saying what is short."""

    @abstractmethod
    def run(self, request: InferenceRequest, progress: Progress | None = None) -> Result:
        """Carry out a request for the model that is loaded. Ctrl-C leaves the device usable.

        progress: called as the work goes on.
        """

    @abstractmethod
    def close(self) -> None:
        """Free what the device holds. A second call does nothing."""

    def load(self, model: CompiledModel | str | os.PathLike[str]) -> None:
        """Make ``model``, or the one in the file of that path, the one that runs.

        Raises SynflipError for a file that is missing or no compiled model, and for a model that does not
        fit the device, saying what is short.
        """
        if isinstance(model, str | os.PathLike):
            model = modelfile.load(Path(model))
        if not isinstance(model, CompiledModel):
            raise SynflipError(
                f"a device loads a compiled model or the path of one, not a {type(model).__name__}; "
                "compile a trained network first: synflip.compiler.compile.compile_network"
            )
        self.prepare(model)

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
        """Votes of network samples first..first+samples-1 for images ``pixels`` [N, I].

        The images are read block by block. ``InferenceRequest`` says what each argument means. Raises
        SynflipError for a request or pixels that make no sense. Ctrl-C leaves the device usable.
        """
        request = InferenceRequest(
            loaded(self.model), pixels, samples, seed, margin, logits, keys, keep_keys, first
        )
        return self.run(request, progress)

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

    def clock_cycles(self) -> int:
        """Clock cycles that a simulated device has made since reset, bus traffic included; else 0."""
        return 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def loaded(model: CompiledModel | None) -> CompiledModel:
    """The model. Raises SynflipError if none was loaded."""
    if model is None:
        raise SynflipError("no model loaded; call load(model) first")
    return model
