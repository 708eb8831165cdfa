"""What runs a compiled model. Every device has one interface, and all give equal results."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self, cast

import numpy as np
from numpy.typing import NDArray

from synflip import modelfile
from synflip.errors import SynflipError
from synflip.inference.request import InferenceRequest, Margin, Pixels, Progress
from synflip.inference.result import Result
from synflip.spec.geometry import Geometry
from synflip.spec.model import CompiledModel, Images
from synflip.uncertainty.soft_votes import SoftTable
from synflip.util.progress import check_progress, shown


class Device(ABC):
    """Anything that runs a compiled model; a context manager that frees what it holds.

    A device implements ``prepare``, ``run`` and ``close``; the rest is the same for all.

    name: as users name it. model: what was loaded last, or None.
    geometry: of the accelerator. A device that is none has that of the accelerator whose cycles it predicts.
    numbered: whether its network samples follow from seed and number, so that each may be asked for by
    itself. Those of tunnel junctions do not.
    """

    name: str
    geometry: Geometry
    model: CompiledModel | None = None
    numbered: bool = True

    @abstractmethod
    def prepare(self, model: CompiledModel) -> None:
        """Make ``model`` the one that runs. Raises SynflipError if it does not fit, saying what is short."""

    @abstractmethod
    def run(self, request: InferenceRequest, progress: Progress | None = None) -> Result:
        """Carry out a request for the model that is loaded. Ctrl-C leaves the device usable.

        request: images [N, I], samples, seed, and what else is asked. progress: called with (done, total), in
        network samples times images. Raises SynflipError for what the device has no room for.
        """

    @abstractmethod
    def close(self) -> None:
        """Free what the device holds. A second call does nothing."""

    def load(self, model: CompiledModel | str | os.PathLike[str]) -> None:
        """Make ``model``, or the one in the file of that path, the one that runs.

        model: a compiled model, or the path of its .safetensors file. Raises SynflipError for a file that is
        missing or no compiled model, and for a model that does not fit the device, saying what is short.
        """
        self.prepare(model_of(model))

    def infer(
        self,
        pixels: Pixels,
        samples: int,
        seed: int,
        margin: Margin | None = None,
        logits: bool = False,
        progress: Progress | bool | None = None,
        keys: NDArray[np.uint64] | None = None,
        keep_keys: bool = False,
        first: int = 0,
        soft: SoftTable | bool | None = None,
    ) -> Result:
        """Votes of network samples first..first+samples-1 for N images.

        pixels: integers in 0..model.input_max, or floats that are whole, [N, I]; also [N, H, W],
            [N, 1, H, W] and [N, H, W, 1], and of a model that makes features [N, C, H, W]. An array, a list,
            a torch tensor, or the path of a .npy file, which is read block by block, or of a .npz file. Of a
            model with an input quantizer they are finite numbers of any range, also of a frame, by its
            columns' names, or the path of a .csv, .parquet, .npz or .npy file.
        samples: S, network samples, 1..2**31-1. seed: of the coins, 0..2**64-1; tunnel junctions have none.
            The same model, seed and sample give the same votes on every device. Both are integers, also
            numpy's, or floats that are whole.
        margin: early stopping. An image leaves after the first network sample s in which its leader is at
            least margin (margin[s]) votes ahead of its runner-up: an integer, or integers [S]. None: all
            images take all samples.
        logits: keep the logits of every network sample, int32 [S, N, C].
        progress: True shows a bar, in a terminal and in a notebook; or a function that is called with (done,
            total), in network samples times images.
        keys: uint64 [S, R], the keys of each network sample, in place of the device's own; R is the number of
            padded rows of all layers. keep_keys: keep the keys that were used, of one batch of images.
        first: number of the first network sample; with another than 0 no image leaves early, and no keys are
            given.
        soft: add up soft votes int64 [N, C] and energies int64 [N], from which the result has its posterior
            and its energy without logits. True: with the tables of the model's logit scale.

        Returns a Result: votes int32 [N, C], sums of logits int64 [N, C], samples used int32 [N], cycles.
        Raises SynflipError for arguments that make no sense, if no model is loaded, and for what the device
        has no room for. Ctrl-C leaves the device usable.
        """
        request = InferenceRequest(
            loaded(self.model),
            cast(Images, pixels),  # the request makes images of them
            samples,
            seed,
            margin,
            logits,
            keys,
            keep_keys,
            first,
            soft,
        )
        check_progress(progress, "(done, total)")
        with shown(progress, "Flipping coins") as advance:
            return self.run(request, advance)

    def stream(
        self,
        blocks: Iterable[Pixels],
        samples: int,
        seed: int,
        margin: Margin | None = None,
        logits: bool = False,
        soft: SoftTable | bool | None = None,
    ) -> Iterator[Result]:
        """A result for each block of images, as they come. A block is taken when its result is asked for.

        blocks: each integers [N, I], or images in another form that ``infer`` takes. samples: S, of each
        image. seed: of the coins, the same for each block. margin: early stopping, an integer or integers
        [S], or None. logits: keep the logits of every sample. soft: add up soft votes and energies,
        which stand for the logits. Raises SynflipError for arguments that make no sense.

        The engine is kept busy from batch to batch of a block, not from block to block: take blocks of many
        images.
        """
        for pixels in blocks:
            yield self.infer(pixels, samples, seed, margin, logits, soft=soft)

    def clock_cycles(self) -> int:
        """Clock cycles that a simulated device has made since reset, bus traffic included; else 0."""
        return 0

    def line_bytes(self) -> int:
        """Bytes that a serial line has carried since the device was opened, both ways; else 0."""
        return 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def model_of(model: CompiledModel | str | os.PathLike[str]) -> CompiledModel:
    """``model``, or the one in the file of that path. Raises SynflipError for what is neither."""
    if isinstance(model, str | os.PathLike):
        return modelfile.load(Path(model))
    if not isinstance(model, CompiledModel):
        raise SynflipError(
            f"what runs is a compiled model or the path of one, not a {type(model).__name__}; "
            "compile a trained network first: synflip.compile_network"
        )
    return model


def loaded(model: CompiledModel | None) -> CompiledModel:
    """The model. Raises SynflipError if none was loaded."""
    if model is None:
        raise SynflipError("no model loaded; call load(model) first")
    return model
