"""Results on disk, while they grow: a folder with an array in a .npy file for each of a Result's."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synflip.inference.request import InferenceRequest
from synflip.inference.result import ARRAYS, Result, Tally
from synflip.util.outputs import check_outputs, make_folder, write_array

PARTIAL = ".partial"


class Store:
    """The arrays of a Result as maps of files. Until it is finished, their names end in PARTIAL.

    tally: where results are added.
    """

    def __init__(self, folder: Path, request: InferenceRequest) -> None:
        """folder: made; it gets votes.npy, logit_sums.npy, used.npy, logits.npy if they are kept, and
        soft_votes.npy and energy_sums.npy if they are asked for. Raises SynflipError if files cannot be
        written there."""
        images, classes = len(request.pixels), len(request.model.classes)
        shapes: dict[str, tuple[int, ...]] = {
            "votes": (images, classes),
            "logit_sums": (images, classes),
            "used": (images,),
        }
        if request.logits:
            shapes["logits"] = (request.samples, images, classes)
        if request.tables is not None:
            shapes |= {"soft_votes": (images, classes), "energy_sums": (images,)}
        self._files = {name: folder / f"{name}.npy" for name in shapes}
        check_outputs(self._files.values())
        make_folder(folder)
        maps = {name: self._map(name, shape) for name, shape in shapes.items()}
        self.tally = Tally(
            maps["votes"], maps["logit_sums"], maps["used"], maps.get("logits"),
            maps.get("soft_votes"), maps.get("energy_sums"),
        )  # fmt: skip

    def finished(self, result: Result) -> Result:
        """Give the files their names, after the last piece, and write ``cycles.npy``."""
        for name, file in self._files.items():
            getattr(self.tally, name).flush()
            os.replace(_partial(file), file)
        folder = self._files["votes"].parent
        write_array(folder / "cycles.npy", np.array(result.cycles))
        return result

    def _map(self, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
        dtype = ARRAYS[name][0]
        return np.lib.format.open_memmap(_partial(self._files[name]), "w+", dtype, shape)


def _partial(file: Path) -> Path:
    return file.with_name(file.name + PARTIAL)
