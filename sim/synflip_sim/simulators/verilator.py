"""Verilator as a device: a transport over the simulated bus, under the driver that every accelerator has."""

import ctypes
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from synflip.devices.accelerator import Accelerator
from synflip.devices.registry import chosen
from synflip.devices.transport import BusError
from synflip.errors import SynflipError
from synflip.randomness.mtj_model import JunctionModel
from synflip.spec.geometry import Geometry
from synflip.util.libraries import load_library

from synflip_sim.simulators.verilate import Kind, Say, build

if TYPE_CHECKING:  # it needs Amaranth, which a library in the cache does not
    from synflip_sim.simulators.waves import Waves

RAW_SOURCE = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_uint32), ctypes.c_int64)
WAIT_CYCLES = 20_000  # between two looks at the status: short enough for Ctrl-C, long enough not to cost


class VerilatorTransport:
    """Reads and writes of the memory map in the simulator; the clock runs only inside them and in
    ``wait``."""

    def __init__(
        self,
        library: Path,
        junctions: JunctionModel | None = None,
        period: int = 4,
        waves: "Waves | None" = None,
    ) -> None:
        """junctions: what drives the raw inputs, a bit of each every ``period`` (4 or more) clock cycles.
        waves: what a library of the kind ``waves`` records. Raises SynflipError if it cannot."""
        self._library = load_library(library)
        self._library.synflip_open.restype = ctypes.c_void_p
        self._library.synflip_cycles.restype = ctypes.c_uint64
        for name in ("synflip_write", "synflip_read"):
            function = getattr(self._library, name)
            function.restype = ctypes.c_int64
            function.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_int64]
        self._library.synflip_close.argtypes = [ctypes.c_void_p]
        self._library.synflip_cycles.argtypes = [ctypes.c_void_p]
        self._library.synflip_wait.argtypes = [ctypes.c_void_p, ctypes.c_uint64]
        self._bench: int | None = self._library.synflip_open()
        if junctions is not None:
            self._raw_source = drive_junctions(self._library, self._bench, junctions, period)
        if waves is not None:
            self._record(waves)

    @property
    def bench(self) -> int:
        """The simulator's handle. Raises SynflipError after ``close``."""
        if self._bench is None:
            raise SynflipError("the simulated accelerator is closed")
        return self._bench

    @property
    def cycles(self) -> int:
        """Clock cycles since reset, bus traffic included."""
        return int(self._library.synflip_cycles(self.bench))

    def write(self, address: int, words: NDArray[np.uint32]) -> None:
        """Write words to consecutive addresses. Raises BusError if one is refused."""
        words = np.ascontiguousarray(words, dtype=np.uint32)
        self._check(
            "write", address, self._library.synflip_write(self.bench, address, words.ctypes.data, len(words))
        )

    def read(self, address: int, count: int) -> NDArray[np.uint32]:
        """Read consecutive words. Raises BusError if one is refused."""
        words = np.zeros(count, dtype=np.uint32)
        self._check(
            "read", address, self._library.synflip_read(self.bench, address, words.ctypes.data, count)
        )
        return words

    def wait(self) -> None:
        """Let the device run on for a while, or until it is idle."""
        self._library.synflip_wait(self.bench, WAIT_CYCLES)

    def _record(self, waves: "Waves") -> None:
        record = self._library.synflip_waves
        record.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64, ctypes.c_int64]
        if not record(self.bench, os.fsencode(waves.path), waves.first, waves.past):
            self.close()
            raise SynflipError(f"cannot write {waves.path}: the simulator cannot open it")

    def write_coverage(self, path: Path) -> None:
        """Write the counters of a library that was built with them."""
        self._library.synflip_coverage(ctypes.c_void_p(self.bench), str(path).encode())

    def close(self) -> None:
        """Free the simulator."""
        if self._bench is not None:
            self._library.synflip_close(self._bench)
            self._bench = None

    def _check(self, what: str, address: int, failed: int) -> None:
        if failed == -2:
            raise BusError(f"the simulated accelerator did not answer a {what} at {address:#x}")
        if failed >= 0:
            raise BusError(f"the simulated accelerator refused a {what} at {address + failed:#x}")


def drive_junctions(
    library: ctypes.CDLL, bench: int | None, junctions: JunctionModel, period: int = 4
) -> Any:
    """Have a bench's raw inputs driven, a bit of each every ``period`` clock cycles. Returns what must live
    as long as the bench."""
    source = RAW_SOURCE(lambda words, count: _fill(junctions, words, count))
    library.synflip_junctions.argtypes = [ctypes.c_void_p, RAW_SOURCE, ctypes.c_int64]
    library.synflip_junctions(bench, source, period)
    return source


def _fill(junctions: JunctionModel, words: Any, count: int) -> None:
    bits = junctions.bits(count).astype(np.uint32)
    np.ctypeslib.as_array(words, (count,))[:] = (bits << np.arange(junctions.count, dtype=np.uint32)).sum(1)


def open_verilator(
    geometry: Geometry,
    say: Say | None = None,
    junctions: JunctionModel | None = None,
    period: int = 4,
    waves: "Waves | None" = None,
) -> Accelerator:
    """The accelerator of ``geometry`` in Verilator, compiled on first use (about a minute) and cached.

    junctions: what drives the inputs of a geometry with tunnel junctions (well-behaved ones unless given);
        period: clock cycles from one of their bits to the next. waves: what is recorded of its signals; its
        files are whole when the device is closed. A device that records is compiled apart, and slow.
    """
    if geometry.devices and junctions is None:
        junctions = JunctionModel(geometry.devices, seed=0)
    library = build(geometry, say or progress(), Kind.plain if waves is None else Kind.waves)
    return Accelerator(VerilatorTransport(library, junctions, period, waves), name="verilator")


def open_device(text: str, geometry: Geometry | None) -> Accelerator:
    """The device ``verilator``: see ``synflip.devices.registry``."""
    return open_verilator(chosen(text, geometry))


def progress() -> Say:
    """Says on a terminal what is being built; elsewhere nothing."""
    if not sys.stderr.isatty():
        return lambda text: None
    return lambda text: print(f"building the simulator: {text} ...", file=sys.stderr)
