"""The cache: the folder that built simulators and netlists are kept in, and what other packages keep.

One setting decides for all: SYNFLIP_CACHE. Where no folder of the user's can be written (no home, no entry in
the user database, a read-only disk), a folder of the user's own below the system's temporary folder serves.
"""

import getpass
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from synflip.errors import SynflipError

USER = "LOGNAME"  # getpass.getuser, which torch calls, asks it before the user database


def cache_root() -> Path:
    """``$SYNFLIP_CACHE``, else ``$XDG_CACHE_HOME/synflip``, else ``~/.cache/synflip``, else, where that
    cannot be made, ``last_resort()``. Absolute; it need not exist."""
    if chosen := os.environ.get("SYNFLIP_CACHE"):
        return Path(os.path.abspath(os.path.expanduser(chosen)))
    root = os.environ.get("XDG_CACHE_HOME", "")
    usual = Path(root if os.path.isabs(root) else os.path.expanduser("~/.cache"), "synflip")
    return usual if usual.is_absolute() and (_is_folder(usual) or _writable(usual)) else last_resort()


def last_resort() -> Path:
    """The user's folder below the system's temporary folder: ``synflip-`` and the user's number."""
    return Path(tempfile.gettempdir(), f"synflip-{_user()}")


def cache_folder(*names: str) -> Path:
    """The folder ``names`` of the cache, made, to write in: below ``cache_root``, or ``last_resort`` if that
    cannot be written. Raises SynflipError if neither can."""
    for root in (cache_root(), last_resort()):
        folder = root.joinpath(*names)
        if (root != last_resort() or _private(root)) and _writable(folder):
            return folder
    raise SynflipError(
        f"neither {cache_root()} nor {last_resort()} can be written: set SYNFLIP_CACHE to a folder that can"
    )


def cached_file(*names: str) -> Path | None:
    """The file ``names`` of the cache, if it is there. The cache need not be writable, nor the user's."""
    for root in (cache_root(), last_resort()):
        path = root.joinpath(*names)
        if (root == cache_root() != last_resort() or _private(root)) and path.is_file():
            return path
    return None


@contextmanager
def tool_caches() -> Iterator[None]:
    """While the block lasts, the environment tells other packages to keep their caches in this one."""
    before = dict(os.environ)
    os.environ.update(tool_environment())
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def tool_environment() -> dict[str, str]:
    """Variables of the environment with which wasmtime, YoWASP, matplotlib and torch keep their caches in
    this one. None are needed where SYNFLIP_CACHE is not set and the user's own cache can be written."""
    usual = cache_root()
    found: dict[str, str] = {}
    try:
        getpass.getuser()
    except (KeyError, OSError):  # the second: from Python 3.13 on
        found[USER] = f"user-{_user()}"
    if not os.environ.get("SYNFLIP_CACHE") and usual != last_resort() and _writable(usual):
        return found
    root = cache_folder("tools")
    found |= {"SYNFLIP_CACHE": str(usual), "XDG_CACHE_HOME": str(root)}
    if not _is_folder(Path(os.path.expanduser("~"))):
        found["HOME"] = str(root)  # wasmtime wants one, if only to look for its settings
    for name, folder in (
        ("YOWASP_CACHE_DIR", "yowasp"),
        ("MPLCONFIGDIR", "matplotlib"),
        ("TORCHINDUCTOR_CACHE_DIR", "torch"),
        ("TRITON_CACHE_DIR", "triton"),
    ):
        found[name] = os.environ.get(name) or str(root / folder)
    return found


def _is_folder(path: Path) -> bool:
    return path.is_absolute() and os.path.isdir(path)


def _writable(folder: Path) -> bool:
    """Whether files can be written in ``folder``, which is made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _private(folder: Path) -> bool:
    """Whether nobody else can have put a file into ``folder``: it may lie in a folder that all can write. It
    is made if it is missing."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return False
    if os.name == "nt":  # where every user has a temporary folder of his own
        return stat.S_ISDIR(found.st_mode)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == _user() and not found.st_mode & 0o022


def _user() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else 0
