"""The accelerator behind a UART in Verilator, as a pseudo-terminal: a serial port for the real driver."""

import ctypes
import os
import select
import threading
import tty
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from synflip.randomness.mtj_model import JunctionModel
from synflip.spec.geometry import Geometry
from synflip.util.libraries import cached, load_library

from synflip_sim.simulators.verilate import (
    Say,
    compile_library,
    content_key,
    device_flags,
)
from synflip_sim.simulators.verilator import drive_junctions

HARNESS = Path(__file__).with_name("harness.cpp")


@dataclass(frozen=True)
class SerialLine:
    """The line of a simulated UART.

    divisor: cycles a bit, at least 1. silence_bits: a silence of so many bit times ends a frame. queued: the
    device takes requests ahead.
    """

    divisor: float
    silence_bits: int
    queued: bool = True


LINE = SerialLine(divisor=4, silence_bits=1024)
CYCLES = 2000  # simulated between two looks at the pseudo-terminal
RESET = 2  # cycles at the beginning
IDLE = 0.1  # seconds between two looks at whether to stop
ROOM = 4096  # bytes moved at once

#: A line: called with the bytes that were sent, it returns the bytes that arrive.
Line = Callable[[bytes], bytes]


def build(geometry: Geometry, line: SerialLine, say: Say) -> Path:
    """Path of the library for ``geometry`` behind a UART, built if it is not cached. Raises SynflipError."""

    def make(folder: Path) -> None:
        from synflip_hdl.export.verilog import to_verilog
        from synflip_hdl.serial.top import SerialTop

        say(f"Verilog of {geometry.name}, k = {geometry.bits}, behind a UART")
        top = SerialTop(geometry, line.divisor, 1, line.silence_bits, queued=line.queued)
        text = to_verilog(top)
        (folder / "synflip.v").write_text(text)
        compile_library(folder, ["synflip.v", *device_flags(geometry)], say, harness=HARNESS)

    name = f"{geometry.name}-k{geometry.bits}-serial{line.divisor}-{line.silence_bits}"
    name += "-queued" * line.queued
    return cached("verilator", name, content_key(geometry, [HARNESS, Path(__file__)]), make)


class SerialBench:
    """The simulator: bytes in, cycles, bytes out."""

    def __init__(
        self, library: Path, line: SerialLine, junctions: JunctionModel | None = None, reset: int = RESET
    ) -> None:
        """junctions: drives the raw inputs of a geometry that has them. reset: cycles at the beginning."""
        self._library = load_library(library)
        self._library.synflip_open.restype = ctypes.c_void_p
        self._library.synflip_open.argtypes = [ctypes.c_double, ctypes.c_int]
        self._library.synflip_take.restype = ctypes.c_int64
        for name in ("synflip_put", "synflip_take"):
            getattr(self._library, name).argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64]
        self._library.synflip_run.argtypes = [ctypes.c_void_p, ctypes.c_int64]
        self._library.synflip_reset.argtypes = [ctypes.c_void_p, ctypes.c_int]
        for name in ("synflip_leds", "synflip_close"):
            getattr(self._library, name).argtypes = [ctypes.c_void_p]
        self._bench = self._library.synflip_open(line.divisor, reset)
        if junctions is not None:
            self._raw_source = drive_junctions(self._library, self._bench, junctions)

    def put(self, content: bytes) -> None:
        """Queue bytes for the device's receiver."""
        self._library.synflip_put(self._bench, content, len(content))

    def run(self, cycles: int) -> bool:
        """Run for ``cycles``; returns whether line or accelerator is busy at the end."""
        return bool(self._library.synflip_run(self._bench, cycles))

    def take(self) -> bytes:
        """The bytes that the device has sent since the last call, at most ROOM."""
        room = ctypes.create_string_buffer(ROOM)
        count = self._library.synflip_take(self._bench, room, ROOM)
        return room.raw[:count]

    def reset(self, pressed: bool) -> None:
        """Set the reset input: ``pressed`` holds the device in reset."""
        self._library.synflip_reset(self._bench, pressed)

    def leds(self) -> tuple[bool, bool]:
        """Whether the LEDs ``busy`` and ``error`` are lit."""
        lit = self._library.synflip_leds(self._bench)
        return bool(lit & 1), bool(lit & 2)

    def close(self) -> None:
        """Free the simulator."""
        self._library.synflip_close(self._bench)


class PtyServer:
    """A pseudo-terminal, ``path``, with a simulator at its other end; a context manager.

    The clock runs while there is something to do, as fast as it can, and stands still otherwise.
    """

    def __init__(
        self, bench: SerialBench, linger: int, to_device: Line = bytes, from_device: Line = bytes
    ) -> None:
        """linger: cycles that are simulated after the last sign of life: the device may still carry out a
        request or wait for a silence. to_device, from_device: the line in each direction, which may damage
        bytes, see ``line_faults.Faults``."""
        self._bench = bench
        self._to_device, self._from_device = to_device, from_device
        self._linger = linger
        self._ours, self._theirs = os.openpty()  # we hold both ends: hosts come and go
        tty.setraw(self._theirs)
        os.set_blocking(self._ours, False)
        self.path = os.ttyname(self._theirs)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=f"simulator at {self.path}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()
        self._bench.close()
        os.close(self._ours)
        os.close(self._theirs)

    def _serve(self) -> None:
        left = 0  # cycles to simulate
        outgoing = b""
        while not self._stop.is_set():
            sending = [self._ours] if outgoing else []
            readable, writable, _ = select.select([self._ours], sending, [], 0 if left > 0 else IDLE)
            if readable:
                self._bench.put(self._to_device(os.read(self._ours, ROOM)))
                left = self._linger
            if writable:
                outgoing = outgoing[os.write(self._ours, outgoing) :]
            if left > 0:
                busy = self._bench.run(CYCLES)
                sent = self._bench.take()
                # The line is not busy between two bytes, and CYCLES may end just there.
                left = self._linger if busy or sent else left - CYCLES
                outgoing += self._from_device(sent)


class PtyDevice(PtyServer):
    """The accelerator behind a UART, with nothing of a board, as a ``PtyServer``."""

    def __init__(
        self,
        geometry: Geometry,
        line: SerialLine = LINE,
        to_device: Line = bytes,
        from_device: Line = bytes,
        say: Say = lambda text: None,
        junctions: JunctionModel | None = None,
    ) -> None:
        """to_device, from_device: see ``PtyServer``. junctions: drives the raw inputs of a geometry that has
        them; ideal junctions unless given. Raises SynflipError if the simulator cannot be built."""
        if geometry.devices and junctions is None:
            junctions = JunctionModel(geometry.devices, seed=0)
        bench = SerialBench(build(geometry, line, say), line, junctions)
        linger = round(line.silence_bits * line.divisor) + 4 * CYCLES
        super().__init__(bench, linger, to_device, from_device)
