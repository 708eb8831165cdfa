"""Objects of Verilator's runtime, which are the same in many builds: compiled once, and kept in the cache."""

import hashlib
import importlib.metadata
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from synflip.util.cache import cache_folder

RUNTIME = "verilated*.o"


@contextmanager
def kept_runtime(objects: Path, recipe: Sequence[str]) -> Iterator[None]:
    """While the block lasts, Verilator and make compile in the folder ``objects``, which must be there.

    The runtime's objects of an earlier build by the same recipe are put there before, and this build's are
    kept after it, if there were none: they are a third of a small build. recipe: all that decides their bytes
    but Verilator's version: options of Verilator and variables of its makefile, the compiler among them.
    """
    words = "\0".join((*recipe, importlib.metadata.version("verilator")))
    root = cache_folder("runtime")
    kept = root / hashlib.sha256(words.encode()).hexdigest()[:24]
    later = time.time() + 3600  # than all that Verilator is about to write: they are not compiled again
    for item in kept.glob(RUNTIME):
        os.utime(shutil.copy(item, objects), (later, later))
    yield
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=root) as folder:
            new = Path(folder) / "runtime"
            new.mkdir()
            for item in objects.glob(RUNTIME):
                shutil.copy(item, new)
            with suppress(OSError):  # another build may have been first
                new.rename(kept)
