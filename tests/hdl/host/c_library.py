"""The C library, compiled and called through ctypes, with a bus of the test's own."""

import ctypes
import subprocess
from collections.abc import Callable, Sequence
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    byref,
    c_char_p,
    c_int,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from synflip_hdl.host.c_export import library

STRICT = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion")
READ = CFUNCTYPE(c_int, c_void_p, c_uint32, POINTER(c_uint32))
WRITE = CFUNCTYPE(c_int, c_void_p, c_uint32, c_uint32)
SIZES = (
    "lanes",
    "banks",
    "bits",
    "activation_bits",
    "weight_depth",
    "event_depth",
    "key_depth",
    "bias_depth",
)
SIZES += ("image_slots", "result_depth", "margin_depth", "layer_depth", "sample_bits")
OF_MODEL = ("inputs", "classes", "pixel_max", "activation_max", "slots", "key_blocks", "class_shift")


class Bus(Structure):
    """synflip_bus"""

    _fields_ = (("read", READ), ("write", WRITE), ("context", c_void_p))


class Device(Structure):
    """synflip_device"""

    _fields_ = (("bus", Bus), ("patience", c_uint32), *((name, c_uint32) for name in (*SIZES, *OF_MODEL)))


class Request(Structure):
    """synflip_request"""

    _fields_ = (
        ("first_slot", c_uint32),
        ("images", c_uint32),
        ("seed", c_uint64),
        ("first_sample", c_uint32),
        ("samples", c_uint32),
        ("margins", POINTER(c_uint32)),
    )


def compile_c(
    folder: Path, *arguments: str | Path, compiler: str = "gcc", flags: Sequence[str] = STRICT
) -> None:
    """Run a compiler in ``folder``; it must say nothing."""
    done = subprocess.run(
        [compiler, *flags, *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and not done.stderr, done.stderr


@cache
def shared_library() -> ctypes.CDLL:
    """synflip_host.c as a shared library."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in library().items():
            (folder / file).write_text(text)
        compile_c(folder, "-O1", "-fPIC", "-shared", "synflip_host.c", "-o", "library.so")
        found = ctypes.CDLL(str(folder / "library.so"))
    found.synflip_open.argtypes = [POINTER(Device), Bus]
    found.synflip_load.argtypes = found.synflip_check.argtypes = [
        POINTER(Device),
        POINTER(c_uint32),
        c_size_t,
    ]
    found.synflip_error_text.restype = c_char_p
    return found


class Host:
    """The library's functions for one device. Each returns the C function's answer.

    read, write: the bus, by word address; what they raise is a word that was refused.
    """

    def __init__(self, read: Callable[[int], int], write: Callable[[int, int], None]) -> None:
        self.library = shared_library()
        self.device = Device()

        def on_read(context: int, address: int, word: "ctypes._Pointer[c_uint32]") -> int:
            try:
                word[0] = read(address)
            except KeyError:
                return 1
            return 0

        def on_write(context: int, address: int, word: int) -> int:
            try:
                write(address, word)
            except KeyError:
                return 1
            return 0

        self.bus = Bus(READ(on_read), WRITE(on_write), None)

    def open(self) -> int:
        return int(self.library.synflip_open(byref(self.device), self.bus))

    def load(self, words: np.ndarray, check: bool = False) -> int:
        function = self.library.synflip_check if check else self.library.synflip_load
        return int(function(byref(self.device), (c_uint32 * len(words))(*words.tolist()), len(words)))

    def write_image(self, slot: int, pixels: Sequence[int]) -> int:
        array = (ctypes.c_uint16 * len(pixels))(*pixels)
        return int(self.library.synflip_write_image(byref(self.device), slot, array))

    def run(
        self, images: int, samples: int, seed: int, first: int = 0, margins: Sequence[int] = (), slot: int = 0
    ):
        request = Request(
            slot, images, seed, first, samples, (c_uint32 * len(margins))(*margins) if margins else None
        )
        return int(self.library.synflip_run(byref(self.device), byref(request), None))

    def text(self, error: int) -> str:
        return str(self.library.synflip_error_text(error).decode())
