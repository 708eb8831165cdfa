"""Shared libraries that a C++ compiler makes here, cached by content."""

import ctypes
import os
import platform
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from synflip.errors import SynflipError
from synflip.util.cache import cache_folder, cached_file
from synflip.util.outputs import replacing
from synflip.util.programs import scratch_folder

LIBRARY = "libsynflip.so"
#: Variables that make and the compiler see, beside CXX. Make takes any other variable for one of its own:
#: CXXFLAGS, LDFLAGS, OPT_FAST and MAKEFLAGS of a shell would be built into a library that stays.
ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "HOME", "TMPDIR", "SDKROOT", "DEVELOPER_DIR")


def compiler() -> str:
    """The C++ compiler: the environment variable CXX, such as ``clang++`` or ``ccache g++``, else g++."""
    return os.environ.get("CXX", "").strip() or "g++"


def compiler_environment() -> dict[str, str]:
    """All that make and the compiler see of the environment."""
    return {name: os.environ[name] for name in ENVIRONMENT if name in os.environ} | {"LC_ALL": "C"}


def processor() -> bytes:
    """The names of this processor's instruction sets, for keys of what is compiled for it alone."""
    try:
        found = re.search(rb"^(flags|Features)\s*:.*$", Path("/proc/cpuinfo").read_bytes(), re.MULTILINE)
    except OSError:
        found = None
    return found[0] if found else f"{platform.machine()} {platform.processor()}".encode()


def cached(kind: str, name: str, key: str, make: Callable[[Path], None]) -> Path:
    """Path of the library called ``name`` of content ``key``, in the cache's folder ``kind``.

    If it is not there, ``make`` is called with a scratch folder, in which it leaves LIBRARY. A second process
    that asks for the same library waits for the first. Only who builds needs a cache that can be written.
    """
    import fcntl  # here, not above: there is none on Windows

    file = f"{name}-{key}.so"
    if found := cached_file(kind, file):
        return found
    root = cache_folder(kind)
    library = root / file
    with (root / f"{name}-{key}.lock").open("w") as lock:
        with suppress(OSError):  # a disk without locks: whoever is last replaces the other's, which is equal
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not library.exists():
            with scratch_folder(root) as folder:
                make(folder)
                with replacing(library) as partial:
                    shutil.copyfile(folder / LIBRARY, partial)
    return library


def load_library(path: Path) -> ctypes.CDLL:
    """The library at ``path``. Raises SynflipError if the system does not load it."""
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise SynflipError(
            f"the library {path} cannot be loaded ({error}): delete it, or set SYNFLIP_CACHE to a folder "
            "on a disk that programs may be run from"
        ) from None
