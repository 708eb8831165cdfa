"""Results on disk, while they grow: a folder with an array in a .npy file for each of a Result's."""

import mmap
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from synflip.data.image_file import ImageFile
from synflip.errors import SynflipError
from synflip.inference.request import InferenceRequest, QuantizedImages
from synflip.inference.result import ALWAYS, ARRAYS, SOFT, Result, Tally
from synflip.util.outputs import check_folder, check_new, check_outputs, make_folder, replacing

NAMES = (*ALWAYS, "logits", *SOFT)  # of arrays that a folder of results may have


def check_store(folder: Path, inputs: Iterable[str | Path | None]) -> None:
    """Ask, before any work, whether results can be written into ``folder``. inputs: files that are read.
    Raises SynflipError as ``check_outputs``, and as ``check_new`` for arrays that are no whole result."""
    files = [folder / f"{name}.npy" for name in NAMES]
    check_outputs(files, inputs)
    if not all((folder / f"{name}.npy").is_file() for name in ALWAYS):
        check_new(files, "a result", "out")


class Store:
    """The arrays of a Result as maps of files: a context manager. Until it is finished they are in a folder
    of their own within ``folder``, which is gone after the block; then they are outputs as any other.

    tally: where results are added.
    """

    def __init__(self, folder: Path, request: InferenceRequest) -> None:
        """folder: made; it gets votes.npy, logit_sums.npy, used.npy, cycles.npy, logits.npy if they are kept,
        and soft_votes.npy and energy_sums.npy if they are asked for.

        Raises SynflipError if files cannot be written there, if the disk has no room for them, if the images
        are read from one of them, and if the folder has an array that this request does not make, which would
        be taken for a part of its result, or one alone, which is of no result.
        """
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
        check_store(folder, [_file_of(request)])
        self._files = {name: folder / f"{name}.npy" for name in (*shapes, "cycles")}
        for name in NAMES:
            other = folder / f"{name}.npy"
            if name not in self._files and os.path.lexists(other):
                raise SynflipError(
                    f"{other} is of another run, and would stay beside this one's: delete it, or take "
                    "another folder"
                )
        make_folder(folder)
        check_folder(folder)
        self._growing = tempfile.TemporaryDirectory(prefix=".synflip-", dir=folder)
        try:
            maps = {name: self._map(name, shape) for name, shape in shapes.items()}
        except BaseException:
            self._growing.cleanup()
            raise
        self.tally = Tally(
            maps["votes"], maps["logit_sums"], maps["used"], maps.get("logits"),
            maps.get("soft_votes"), maps.get("energy_sums"),
        )  # fmt: skip

    def let_go(self) -> None:
        """Let the system take back the memory of what was added: the disk has it, or will have it. Else a
        process has a page of each file that it wrote into until another wants it, which looks like a leak."""
        if hasattr(mmap, "MADV_DONTNEED"):  # Windows has none
            for array in vars(self.tally).values():
                if array is not None:
                    array.base.madvise(mmap.MADV_DONTNEED)

    def finished(self, result: Result) -> Result:
        """Put the files into their places, after the last piece. Raises SynflipError."""
        for name, file in self._files.items():
            with replacing(file) as partial:
                if name == "cycles":
                    np.save(self._place(name), np.array(result.cycles))
                else:
                    getattr(self.tally, name).flush()
                shutil.move(self._place(name), partial)
        return result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._growing.cleanup()

    def _place(self, name: str) -> Path:
        """Where an array is until it is finished."""
        return Path(self._growing.name, f"{name}.npy")

    def _map(self, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
        """A map of a new file, all of which the disk has: a map of a file with holes kills the process when
        the disk is full."""
        place = self._place(name)
        try:
            array = np.lib.format.open_memmap(place, "w+", ARRAYS[name][0], shape)
            if hasattr(os, "posix_fallocate"):  # macOS has none
                with place.open("rb+") as file:
                    os.posix_fallocate(file.fileno(), 0, place.stat().st_size)
        except OSError as error:
            raise SynflipError(f"cannot write {self._files[name]}: {error.strerror or error}") from None
        return array


def _file_of(request: InferenceRequest) -> Path | None:
    """The file that a request's images are read from while it runs, if there is one."""
    pixels: Any = request.pixels
    if isinstance(pixels, ImageFile):
        return pixels.path
    if isinstance(pixels, QuantizedImages):
        pixels = pixels.features
    while isinstance(pixels, np.ndarray) and not isinstance(pixels, np.memmap):
        pixels = pixels.base
    name = getattr(pixels, "filename", None)  # None of a map of an open file without a name
    return None if name is None else Path(name)
