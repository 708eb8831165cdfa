"""Icarus Verilog as a device: a second simulator, which knows unknown values.

It runs the text that ``synflip verilog`` writes, by the rules of SystemVerilog, which are also those of
cocotb's builds. Verilator gives every bit a value. Here memories start as unknown (by the text's macro
SYNFLIP_ROWS; without it they start with 0), and unknowns spread, so a result that depends on something never
written is an error.

Weights, event lists, and where a map's pixels end in them, start with noise instead. A bank without an event
adds 0, and if its weight is negative it adds ~0 + 1, which is 0 too; a simulator does not see that both are 0
if the sign is unknown. Results must not depend on the noise.
"""

import os
import re
import select
import shutil
import subprocess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from synflip.devices.accelerator import Accelerator
from synflip.devices.registry import chosen
from synflip.devices.transport import BusError
from synflip.errors import SynflipError
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import OFFSET_BITS, Region
from synflip.util.extras import require
from synflip.util.programs import run_program, scratch_folder

BENCH = Path(__file__).with_name("icarus.v")
TOOLS = ("iverilog", "vvp")
RESET_CYCLES = 2
WAIT_CYCLES = 1000  # between two looks at the status
#: The memories of weights, of events, and of the ends of a map's pixels: a module's path below the top, and
#: the size of its memory.
NOISY = re.compile(
    r"module \\synflip\.(?P<path>\S*\b(?:(?:weights|images|hidden)_\d+|ends_(?:before|up_to))) "
    r"(?:(?!endmodule).)*?synflip_memory #\("
    r"\s*\.ADDRESS\(32'd(?P<address>\d+)\),\s*\.DEPTH\(32'd\d+\),\s*\.WIDTH\(32'd(?P<width>\d+)\)\s*\) rows ",
    re.S,
)
UNKNOWN = "0 deadbeef"
UNKNOWN_ROWS = "{WIDTH{1'bx}}"
AT_ONCE = 1000  # words of a command: they fit a pipe, and so do their answers
TIMEOUT = 600.0  # seconds for a command's next answer
ROOM = 1 << 16  # bytes


class IcarusTransport:
    """Reads and writes of the memory map in the simulator, a process that is spoken to over pipes. The clock
    runs only inside them and in ``wait``."""

    def __init__(self, geometry: Geometry, noise: int = 1, reset: bool = True) -> None:
        """noise: seed of what weights and event lists hold at first. reset: whether it begins with a reset;
        else registers only have their initial values. Raises SynflipError if Icarus is missing
        or fails."""
        for tool in TOOLS:
            if shutil.which(tool) is None:
                raise SynflipError(
                    f"{tool} is missing; install Icarus Verilog (Debian: apt install iverilog)"
                )
        with scratch_folder() as folder:
            self._process = subprocess.Popen(
                ["vvp", "-n", str(_compile(geometry, noise, folder))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,  # Ctrl-C on a terminal is for us alone
            )
            self._unsent, self._received, self._owed = b"", b"", 0  # of the command under way; lines owed
            self._ask("i 0", 1)  # the process has read its file
        if reset:
            self.reset()

    def reset(self) -> None:
        """Reset for RESET_CYCLES cycles."""
        self._ask(f"z {RESET_CYCLES:x}", 1)

    def write(self, address: int, words: NDArray[np.uint32]) -> None:
        """Write words to consecutive addresses. Raises BusError if an answer is an error or unknown."""
        for first in range(0, len(words), AT_ONCE):
            part = words[first : first + AT_ONCE].tolist()
            data = " ".join(f"{word:x}" for word in part)
            answers = self._ask(f"w {address + first:x} {len(part):x} {data}", len(part))
            self._check("write", address + first, answers)

    def read(self, address: int, count: int) -> NDArray[np.uint32]:
        """Read consecutive words. Raises BusError if one is refused or unknown.

        One exception: an image's results have room for a power of two of classes, such as 16 for 10. Words
        past the last class are never written, and the driver drops them; they read as ``UNKNOWN``.
        """
        kept_whole = address >> OFFSET_BITS in (Region.VOTES, Region.SUMS, Region.SOFT)
        words: list[int] = []
        for first in range(0, count, AT_ONCE):
            part = min(AT_ONCE, count - first)
            answers = self._ask(f"r {address + first:x} {part:x}", part)
            if kept_whole:
                answers = [UNKNOWN if re.fullmatch("0 .*x.*", answer, re.I) else answer for answer in answers]
            self._check("read", address + first, answers)
            words += [int(answer.split()[1], 16) for answer in answers]
        return np.array(words, dtype=np.uint32)

    def wait(self) -> None:
        """Let the device run on for a while, or until it is idle."""
        (busy,) = self._ask(f"i {WAIT_CYCLES:x}", 1)
        if busy not in "01":
            raise BusError("the accelerator in Icarus does not know whether it is busy")

    def close(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _ask(self, command: str, answers: int) -> list[str]:
        """A command's answers. If Ctrl-C has cut one off, it is brought to its end before the next."""
        self._finish()
        self._unsent, self._owed = f"{command}\n".encode(), answers
        return self._finish()

    def _finish(self) -> list[str]:
        assert self._process.stdin and self._process.stdout
        try:
            while self._unsent:
                self._unsent = self._unsent[os.write(self._process.stdin.fileno(), self._unsent) :]
            answers = self._process.stdout.fileno()
        except (OSError, ValueError):  # the second: closed on our side
            raise BusError("the simulator, Icarus, has ended") from None
        while self._received.count(b"\n") < self._owed:
            if not select.select([answers], [], [], TIMEOUT)[0]:
                raise BusError(f"the simulator, Icarus, did not answer in {TIMEOUT:g} s")
            received = os.read(answers, ROOM)
            if not received:
                raise BusError("the simulator, Icarus, has ended")
            self._received += received
        lines = self._received.decode().splitlines()
        if len(lines) != self._owed:
            raise BusError(f"the simulator, Icarus, answered {len(lines)} times, not {self._owed}")
        self._received, self._owed = b"", 0
        return lines

    def _check(self, what: str, address: int, answers: list[str]) -> None:
        for index, answer in enumerate(answers):
            if "x" in answer.lower() or "z" in answer.lower():
                raise BusError(
                    f"the answer of Icarus to a {what} at {address + index:#x} is unknown: {answer}"
                )
            if answer[0] == "1":
                raise BusError(f"the accelerator in Icarus refused a {what} at {address + index:#x}")


def noisy_memories(text: str, geometry: Geometry) -> list[re.Match[str]]:
    """Each memory of weights, events and ends in the Verilog of an accelerator, as NOISY finds it. Raises
    SynflipError if they are not as many as the geometry has."""
    found, memories = list(NOISY.finditer(text)), 3 * geometry.banks + 2 * (geometry.map_depth > 0)
    if len(found) != memories:
        raise SynflipError(f"{len(found)} memories of weights and events in the Verilog, not {memories}")
    return found


def _compile(geometry: Geometry, noise: int, folder: Path) -> Path:
    require("amaranth")
    from synflip_hdl.export.verilog import convert

    text = convert(geometry)
    calls = [f"seed = {noise};"]
    for found in noisy_memories(text, geometry):
        memory = f"dut.{found['path']}.rows"
        size = f"{1 << int(found['address'])}, {found['width']}"
        calls.append(f"`NOISE({memory}.rows, {size}, {memory}.read_data)")
    (folder / "noise.vh").write_text("\n".join([*calls, ""]))
    source, program = folder / "synflip.v", folder / "synflip.vvp"
    source.write_text(text)
    command = ["iverilog", "-g2012", "-s", "bench", f"-DSYNFLIP_ROWS={UNKNOWN_ROWS}", "-I", str(folder)]
    run_program([*command, "-o", str(program), str(BENCH), str(source)], folder, "iverilog")
    return program


def open_icarus(geometry: Geometry, noise: int = 1, reset: bool = True) -> Accelerator:
    """The accelerator of ``geometry`` in Icarus: thousands of cycles a second, for small networks."""
    return Accelerator(IcarusTransport(geometry, noise, reset), name="icarus")


def open_device(text: str, geometry: Geometry | None) -> Accelerator:
    """The device ``icarus``: see ``synflip.devices.registry``."""
    return open_icarus(chosen(text, geometry))
