"""What an output is: the one place that knows what a path to be written leads to, and how it is written.

A regular file is written whole or not at all: its new content is written beside it under a name of its own,
and takes its place in one step. It keeps its mode and owner; other names of the old file (hard links) keep
the old content. Behind a link, the file that the link leads to is replaced, and the link stays. A FIFO, a
terminal or /dev/stdout is given the content itself.
"""

import errno
import os
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synflip.errors import SynflipError

_OWN = ".synflip-"  # begins names of files that are there for a moment
BEGINNING = 1000  # bytes of a file that say what has written it
_MOST_LINKS = 40  # as Linux follows
_PLACES = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}


def check_outputs(outputs: Iterable[str | Path | None], inputs: Iterable[str | Path | None] = ()) -> None:
    """Ask, before any work, whether every one of ``outputs`` can be written. None stands for no file.

    outputs: all files that the work writes, also those whose names are derived from another's. inputs: all
    files that it reads. Nothing is made or changed: what is missing, folders too, is made when it is written.
    Raises SynflipError if an output is one of the inputs or another output, by whatever name, or the folder
    that another output is to be in; and for a folder, a file that is write-protected, a name that is too long
    or that the disk does not take, and a folder that cannot be made or written.
    """
    files = _compared(outputs, inputs)
    for path in files:
        with _explained(f"write {path}"):
            _check(path)


def check_folder(path: str | Path) -> None:
    """Ask, before any work, whether the folder ``path`` is there, or can be made, and takes files. Nothing is
    made. Raises SynflipError."""
    path = Path(path)
    with _explained(f"write {path}"):
        _try(Path(os.path.realpath(path), _own_name()), path)


def check_new(files: Iterable[Path], by: str, option: str = "--out") -> None:
    """Ask, before any work, whether files that nobody named one by one replace nobody's.

    files: those whose names ``by``, such as ``synflip demo``, chooses by itself, without those that it wrote
    before. option: what chooses another place. Raises SynflipError if one is there; what is a FIFO or a
    device may be.
    """
    for path in files:
        with _explained(f"write {path}"):
            found = _stat(path)
            if found is not None and _replaceable(path, found):
                raise SynflipError(
                    f"{path} is there already and is not from {by}: move it, or choose another {option}"
                )


def says(path: Path, *marks: str) -> bool:
    """Whether one of ``marks`` is among the first BEGINNING bytes of a file; False if it cannot be read, and
    of a FIFO or a device."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            beginning = file.read(BEGINNING)
    except OSError:
        return False
    return any(mark.encode() in beginning for mark in marks)


def file_path(path: str | Path) -> Path:
    """``path`` as the name of a file. Raises SynflipError if it is none, and if it is a folder's, such as
    ``new/`` or ``new/.``: a Path does not know of these endings, and would be the file ``new``."""
    if not isinstance(path, str | os.PathLike):
        raise SynflipError(f"a file to be written needs a path, not {path!r:.60}")
    text = os.fspath(path)
    if os.path.split(text)[1] in ("", os.curdir) and text not in ("", os.curdir):
        raise SynflipError(f"cannot write {text}: it is the name of a folder: give that of a file")
    return Path(text)


def beside(path: str | Path, ending: str, other: str) -> Path:
    """The file that is written beside ``path``: its name with ``other`` for ``ending``.

    ``beside("m.safetensors", ".safetensors", ".features.pt2")`` is m.features.pt2. Any other ending stays, so
    that m.v1 and m.v2 do not share one: m.v1.features.pt2.
    """
    path = Path(path)
    return path.parent / (path.name.removesuffix(ending) + other)


def is_plain(path: str | Path) -> bool:
    """Whether ``path`` is a regular file or none yet, and so has a place for files beside it: no FIFO, no
    device, not /dev/stdout. Raises SynflipError for links in a circle."""
    path = Path(path)
    with _explained(f"write {path}"):
        found = _stat(path)
        return found is None or _replaceable(path, found)


def make_folder(path: Path) -> None:
    """Make a folder and the folders above it, where they are missing; what writes files by other ways than
    ``replacing`` asks for it. Raises SynflipError."""
    with _explained(f"make the folder {path}"):
        Path(os.path.realpath(path)).mkdir(parents=True, exist_ok=True)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Write a file whole or not at all: ``with replacing("x.npy") as partial: ...`` writes to ``partial``.

    The block is given another, empty file. When it ends, that file takes the place of ``path``, with the mode
    and the owner that ``path`` had; if the block raises, ``path`` stays as it was and the other file is
    deleted. A link stays, and the file that it leads to is replaced. A FIFO or a device is given the content
    when the block ends. Folders that are missing are made, and deleted again if the block raises. Raises
    SynflipError.
    """
    path = file_path(path)
    with _explained(f"write {path}"):
        before = _check(path)
        if before is None or _replaceable(path, before):
            with _in_folder(_folder(path)), _beside(_target(path), before) as partial:
                yield partial
        else:
            with tempfile.TemporaryDirectory(prefix="synflip-") as folder:
                partial = Path(folder, "content")
                yield partial
                _copy(partial, path)


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` to ``path`` in UTF-8, whole or not at all. Raises SynflipError."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_array(path: str | Path, array: NDArray[np.generic]) -> None:
    """Write ``array`` to ``path`` as ``.npy``, whole or not at all. Raises SynflipError."""
    with replacing(path) as partial, partial.open("wb") as file:
        np.save(file, array, allow_pickle=False)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Says that ``what``, such as ``write x.npy``, failed."""
    try:
        yield
    except OSError as error:
        raise SynflipError(f"cannot {what}: {error.strerror or error}") from None
    except (
        UnicodeEncodeError
    ) as error:  # of a name that is no UTF-8, which a text says, or the disk does not take
        raise SynflipError(f"cannot {what}: its text is no {error.encoding}: {error.reason}") from None


@contextmanager
def _in_folder(folder: Path) -> Iterator[None]:
    """Make a folder; what was missing of it is deleted again if the block raises."""
    missing = [part for part in (folder, *folder.parents) if not os.path.lexists(part)]
    make_folder(folder)
    try:
        yield
    except BaseException:
        for part in missing:
            with suppress(OSError):  # another process has put a file there
                part.rmdir()
        raise


def _compared(outputs: Iterable[str | Path | None], inputs: Iterable[str | Path | None]) -> list[Path]:
    """The outputs. Raises SynflipError if one is an input, another output, or the folder of another."""
    files = [file_path(path) for path in outputs if path is not None]
    known = {_identity(Path(path)): (path, "read too") for path in inputs if path is not None}
    folders: dict[str, Path] = {}  # of new files
    for path in files:
        found = _identity(path)
        if found is None:
            continue
        if found in known:
            other, what = known[found]
            called = "" if str(path) == str(other) else f", as {other}"
            raise SynflipError(f"cannot write {path}: it is {what}{called}")
        known[found] = (path, "written twice")
        if isinstance(found, str):
            folders.update(dict.fromkeys(map(str, Path(found).parents), path))
    for path in files:
        if (within := folders.get(str(_identity(path)))) is not None:
            raise SynflipError(f"cannot write {path}: it is to be the folder of {within}")
    return files


def _stat(path: Path) -> os.stat_result | None:
    """Of what ``path`` leads to; None if there is nothing yet."""
    try:
        return path.stat()
    except (
        FileNotFoundError,
        NotADirectoryError,
    ):  # the second: making its folder says which file is in the way
        return None


def _replaceable(path: Path, found: os.stat_result) -> bool:
    """Whether what is at ``path`` is a regular file, and not named as one that is open already."""
    return stat.S_ISREG(found.st_mode) and _descriptor(path) is None


def _check(path: Path) -> os.stat_result | None:
    """Whether a file can be written at ``path``; what is there, or None. Raises OSError and SynflipError."""
    found = _stat(path)
    if found is None:
        _try(_target(path), _folder(path))
    elif stat.S_ISDIR(found.st_mode):
        raise SynflipError(f"cannot write {path}: it is a folder")
    elif stat.S_ISBLK(found.st_mode) or stat.S_ISSOCK(found.st_mode):
        kind = "a disk" if stat.S_ISBLK(found.st_mode) else "a socket"
        raise SynflipError(f"cannot write {path}: it is {kind}")
    elif not os.access(path, os.W_OK):
        raise SynflipError(f"cannot write {path}: {os.strerror(errno.EACCES)}")
    elif _replaceable(path, found) and not _gives_way(_target(path), found) and found.st_nlink > 1:
        raise SynflipError(
            f"cannot write {path}: no new file can take its place, and in place its other names (hard links: "
            f"{found.st_nlink - 1}) would lose their content too: take another name"
        )
    return found


def _folder(path: Path) -> Path:
    """The folder of what ``path`` leads to: as it was named, unless there is a link between."""
    return _target(path).parent if path.is_symlink() else path.parent


def _try(target: Path, folder: Path) -> None:
    """Make ``target``, which is not there yet, and delete it again. Raises OSError and SynflipError.

    Its folders that are missing are tried within one of another name: those that are written at the same
    time, by other shards for example, never see theirs vanish. folder: how messages call that of ``target``.
    """
    there = target.parent
    with ExitStack() as stack:
        with _explained(f"make the folder {folder}"):
            while not os.path.lexists(there):
                there = there.parent
            if not there.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            if there != target.parent:
                missing = target.relative_to(there)
                own = stack.enter_context(tempfile.TemporaryDirectory(prefix=_OWN, dir=there))
                target = Path(own, missing)
                target.parent.mkdir(parents=True)
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))  # the disk takes the name
        target.unlink()


def _gives_way(target: Path, before: os.stat_result) -> bool:
    """Whether a new file can take the place of ``target``, a regular file; else it is written in place."""
    try:
        partial = _partial(target.parent)
    except PermissionError:
        return False
    try:
        return _take_over(partial, before)
    finally:
        partial.unlink()


def _own_name() -> str:
    """A name that no other file has."""
    return f"{_OWN}{secrets.token_hex(6)}.partial"


def _partial(folder: Path) -> Path:
    """A new empty file in ``folder``, with the mode that any new file has there."""
    partial = folder / _own_name()
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    return partial


@contextmanager
def _beside(target: Path, before: os.stat_result | None) -> Iterator[Path]:
    """A file that takes the place of ``target``, a regular file or nothing, when the block ends."""
    try:
        partial = _partial(target.parent)
    except PermissionError:  # the folder cannot be written; a file in it may be
        if before is None:
            raise
        partial = None
    if partial is None:
        with tempfile.TemporaryDirectory(prefix="synflip-") as folder:
            partial = Path(folder, "content")
            yield partial
            _copy(partial, target)
        return
    try:
        yield partial
        if before is not None and not _take_over(partial, before):
            _copy(partial, target)
        else:
            partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _take_over(partial: Path, before: os.stat_result) -> bool:
    """Give ``partial`` the mode and the owner of another file; False if that is not allowed."""
    try:
        now = partial.stat()
        if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
            os.chown(partial, before.st_uid, before.st_gid)
        partial.chmod(stat.S_IMODE(before.st_mode))
    except PermissionError:
        return False
    return True


def _copy(partial: Path, path: Path) -> None:
    """Write the content of ``partial`` into what is at ``path``."""
    place = _descriptor(path)
    with partial.open("rb") as content:
        if place is None:
            with path.open("wb") as file:
                shutil.copyfileobj(content, file)
            return
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()  # what was said before comes before
        with os.fdopen(os.dup(place), "wb") as file:
            shutil.copyfileobj(content, file)


def _links(path: Path) -> Iterator[str]:
    """``path`` and where its links lead, one after the other, as absolute paths."""
    for _ in range(_MOST_LINKS):
        path = Path(os.path.realpath(path.parent), path.name)
        yield str(path)
        if not path.is_symlink():
            return
        path = path.parent / os.readlink(path)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _descriptor(path: Path) -> int | None:
    """The number of the open file that ``path`` is a name of, such as 1 for /dev/stdout. Opened by that name,
    a file would be written from its beginning, over what others wrote."""
    for name in _links(path):
        folder, number = os.path.split(name)
        if name in _PLACES:
            return _PLACES[name]
        if folder == f"/proc/{os.getpid()}/fd" and number.isdecimal():
            return int(number)
    return None


def _target(path: Path) -> Path:
    """The file that ``path`` leads to, which need not exist. Raises OSError for links in a circle."""
    *_, last = _links(path)
    return Path(last)


def _identity(path: Path) -> tuple[int, int] | str | None:
    """What is the same for two paths that lead to one file: its device and inode, or, of a file that is not
    there yet, where it will be. None for what is no file: what is written into a FIFO or a device is not what
    is read from it; and for what cannot be looked at, which is said when the path is checked, or read."""
    try:
        found = _stat(path)
        if found is None:
            return str(_target(path))
        return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None
    except (OSError, UnicodeEncodeError):
        return None
