"""Whole boards, pin by pin: the self-test over a pseudo-terminal; reset, LEDs and PLL; defects."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import synflip_hdl
from synflip.cli import app
from synflip.devices.framing import Replies, Reply, request
from synflip.spec import memory_map
from synflip.spec.frames import NUMBER_BITS, Command, Status
from synflip.spec.memory_map import Region, address, register
from synflip.util.libraries import LIBRARY
from synflip_hdl.boards.catalogue import find_board
from synflip_hdl.boards.constraints import FOLDERS
from synflip_sim.serial.board import SLOW, BoardDevice, board_line, build, compile_board, open_bench
from synflip_sim.serial.pty import CYCLES, SerialBench

pytestmark = pytest.mark.simulator

SMALL = "tang-nano-9k"
PATIENCE = 400_000  # cycles


@pytest.mark.parametrize(
    ("name", "size"),
    [
        pytest.param("ulx3s-85f", "16x2", marks=pytest.mark.nightly),
        pytest.param("icebreaker", None, marks=pytest.mark.nightly),
        pytest.param("ice40-hx8k", None, marks=pytest.mark.nightly),
        (SMALL, None),
    ],
)
def test_selftest_passes(name, size, tmp_path, capsys):
    board = find_board(name)
    geometry = board.sized(size, None, 0)
    out = tmp_path / "report.json"
    with BoardDevice(board, geometry) as simulator:
        port = f"{simulator.path}@{SLOW}"
        assert app.main(["selftest", port, "--json", str(out)]) == 0, capsys.readouterr()
    said = capsys.readouterr().out.splitlines()
    report = json.loads(out.read_text())
    assert report["passed"] and report["geometry"] == geometry.text
    assert said[-1] == "passed"
    names = [line.split("  ")[0] for line in said if "  pass  " in line]
    assert names == [step["name"] for step in report["steps"]]
    assert len(names) == 10


class Host:
    """Asks the device behind a bench, in the time of the simulated clock."""

    def __init__(self, bench: SerialBench):
        self.bench, self.number, self.replies = bench, 0, Replies()

    def ask(self, command: Command, *other) -> Reply | None:
        """The reply; None if there is none in PATIENCE cycles."""
        self.bench.put(request(1 << NUMBER_BITS | self.number, command, *other))
        self.number += 1
        for _ in range(PATIENCE // CYCLES):
            self.bench.run(CYCLES)
            if answers := list(self.replies.feed(self.bench.take())):
                (reply,) = answers
                return reply
        return None

    def write(self, name: str, value: int) -> Status:
        reply = self.ask(Command.WRITE, register(name), 1, np.array([value], dtype=np.uint32))
        assert reply is not None
        return reply.status


def test_reset_and_leds():
    board = find_board(SMALL)
    bench = open_bench(board, build(board, board.geometry))
    host = Host(bench)
    bench.run(1)
    assert bench.leds() == (False, False)
    bench.run(CYCLES)  # the PLL locks
    assert host.ask(Command.HELLO).status == Status.OK
    assert bench.leds() == (False, False)

    # A layer that waits for keys that never come: a run without an end.
    table = np.zeros(memory_map.LAYER_WORDS, dtype=np.uint32)
    table[memory_map.LayerField.KEY_END] = 2
    assert host.ask(Command.WRITE, address(Region.LAYERS), len(table), table).status == Status.OK
    for name in ("IMAGES", "SAMPLES", "KEY_BLOCKS"):
        assert host.write(name, 1) == Status.OK
    assert host.write("OPTIONS", memory_map.OPTION_HOST_KEYS) == Status.OK
    assert host.write("CONTROL", memory_map.CONTROL_START) == Status.OK
    assert bench.leds() == (True, False)
    assert host.write("SAMPLES", 2) == Status.REFUSED
    assert bench.leds() == (True, True)

    bench.reset(True)
    bench.run(10)
    assert bench.leds() == (False, False)
    assert host.ask(Command.HELLO) is None
    bench.reset(False)
    bench.run(CYCLES)
    bench.take()
    assert Host(bench).write("SAMPLES", 1) == Status.NO_SESSION
    host = Host(bench)
    assert host.ask(Command.HELLO).status == Status.OK
    reply = host.ask(Command.READ, register("IMAGES"), 4)
    assert reply.data.tolist() == [0, 0, 0, 0]
    bench.close()


def test_a_bit_need_not_be_a_whole_number_of_cycles():
    assert board_line(find_board("ulx3s-85f")).divisor == pytest.approx(100 / 3)
    assert board_line(find_board("ice40-hx8k")).divisor == pytest.approx(16)
    assert board_line(find_board("ice40-hx8k"), 18e6).divisor == pytest.approx(6, rel=0.005)


# Defects


@dataclass(frozen=True)
class Defect:
    """In ``file`` of the gateware, ``old`` becomes ``new``, in which DEFECT is 1 if this one is chosen.

    step: of the self-test that must be the first to fail. says: what it must say. others: that may fail too.
    """

    file: str
    old: str
    new: str
    step: str
    says: str
    others: tuple[str, ...] = ()


RUNS = ("known keys", "key source", "early stopping", "parts", "counters")
DEFECTS = (
    Defect(  # another tap
        "engine/coin_comparators.py",
        "Cat(around[a : a + run] ^",
        "Cat(Mux(DEFECT & (bit == 0) & (a == taps[3][0]), around[a + 1 : a + run + 1], around[a : a + run])"
        " ^",
        "memories",
        "weights at entry 0",
        RUNS,
    ),
    Defect(
        "engine/synapse_array.py",
        "lane.signs[bank].eq(coins.signs[position]),",
        "lane.signs[bank].eq(coins.signs[position] ^ (DEFECT & (index == 11))),",
        "memories",
        "lane 11 of sample 0",
        RUNS,
    ),
    Defect(  # a bit of the weights, stuck
        "engine/synapse_array.py",
        "coins.entry.eq(read_late(m, read, asked, self.compact)),",
        "coins.entry.eq((lambda entry: Mux(DEFECT, entry & ~(1 << 5), entry))("
        "read_late(m, read, asked, self.compact))),",
        "memories",
        "weights at entry",
        RUNS,
    ),
    Defect(  # a bit of their address, stuck
        "engine/synapse_array.py",
        'asked = delayed(m, weight_address, 2, f"weight_address_{bank}")',
        "asked = (lambda place: Mux(DEFECT, place & ~(1 << len(place) - 2), place))("
        'delayed(m, weight_address, 2, f"weight_address_{bank}"))',
        "memories",
        "weights at entry",
    ),
    Defect(  # the halves of a key, swapped
        "sources/lfsr.py",
        "Cat(low[0] ^ low[1] ^ low[2] ^ low[3], high[0] ^ high[1] ^ high[2] ^ high[3])",
        "(lambda a, b: Mux(DEFECT, Cat(b, a), Cat(a, b)))("
        "low[0] ^ low[1] ^ low[2] ^ low[3], high[0] ^ high[1] ^ high[2] ^ high[3])",
        "key source",
        "differ; first logits",
        ("key memory", "early stopping", "parts", "counters"),
    ),
    Defect(
        "engine/sequencer.py", "status.cycles.eq(0),", "status.cycles.eq(DEFECT),", "counters", "predicted"
    ),
    Defect(
        "engine/votes.py",
        "(early & (kept.lead - kept.second >= least))",
        "(early & (kept.lead - kept.second >= least + DEFECT))",
        "early stopping",
        "differ; first",
        ("counters",),
    ),
    Defect(  # a bit of a setting, stuck; no run can be started then
        "bus/registers.py",
        "m.d.sync += setting.eq(request.data)",
        "m.d.sync += setting.eq(request.data | (DEFECT & (name == 'FIRST_SLOT')) << 7)",
        "registers",
        "FIRST_SLOT was set to",
        ("memories", "key memory", *RUNS),
    ),
    Defect(
        "bus/registers.py",
        "(offset < extent(item, self.geometry, write))",
        "(offset < extent(item, self.geometry, write) + DEFECT)",
        "refusals",
        "a write past the margins was not refused",
    ),
    Defect(  # a PLL that never locks
        "boards/top.py", "pressed | ~locked", "pressed | ~locked | DEFECT", "identity", "no answer from /dev/"
    ),
    Defect(  # a reset button of the wrong polarity
        "boards/top.py",
        "restart = pressed",
        "restart = (pressed ^ DEFECT)",
        "identity",
        "no answer from /dev/",
    ),
)
#: Not to be found by the self-test: LEDs of the wrong polarity.
LED = Defect("boards/top.py", "led.o.eq(lit)", "led.o.eq(lit ^ DEFECT)", "", "")
#: Of a line on which nothing is waited for in vain for long.
FAST = 20_000

SWITCH = """
from amaranth.hdl import Instance, Mux, Signal
def defect(m, number):
    on = Signal(name=f"defect_{number}")
    m.submodules += Instance("synflip_defect", p_NUMBER=number, o_on=on)
    return on
"""
MODULE = """
module synflip_defect #(parameter [7:0] NUMBER = 0) (output on);
    reg [7:0] chosen [0:0];
    initial $readmemh("{chosen}", chosen);
    assign on = chosen[0] == NUMBER;
endmodule
"""
WRITE = """
from pathlib import Path
from synflip_hdl.boards.catalogue import find_board
from synflip_sim.serial.board import write_sources
board = find_board({name!r})
write_sources(board, board.geometry, Path({folder!r}))
"""


def build_with_defects(folder: Path) -> tuple[Path, Path]:
    """A board with all defects, of which the file ``chosen`` chooses one by number; and that file."""
    hdl = Path(synflip_hdl.__file__).parent
    copy = folder / "hdl" / hdl.name
    shutil.copytree(hdl, copy, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(FOLDERS[0], copy / FOLDERS[0].name)
    (copy / "defects.py").write_text(SWITCH)
    for number, item in enumerate((*DEFECTS, LED), 1):
        path = copy / item.file
        text = path.read_text()
        assert text.count(item.old) == 1, f"{item.old!r} occurs {text.count(item.old)} times in {item.file}"
        path.write_text(text.replace(item.old, item.new.replace("DEFECT", f"defect(m, {number})")))
    for name in {item.file for item in (*DEFECTS, LED)}:
        text = (copy / name).read_text()
        imports = "from synflip_hdl.defects import Mux, defect\n"
        first, rest = text.split("\nfrom ", 1)
        (copy / name).write_text(f"{first}\n{imports}from {rest}")
    sources = folder / "sources"
    sources.mkdir()
    path = os.pathsep.join((str(copy.parent), *sys.path))
    done = subprocess.run(
        [sys.executable, "-c", WRITE.format(name=SMALL, folder=str(sources))],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    chosen = folder / "chosen.hex"
    verilog = sources / "board.v"
    verilog.write_text(verilog.read_text() + MODULE.format(chosen=chosen))
    board = find_board(SMALL)
    compile_board(board, board.geometry, sources)
    return sources / LIBRARY, chosen


def test_every_defect_has_its_place():
    """By day too: they are looked for by night only."""
    hdl = Path(synflip_hdl.__file__).parent
    places = [(item.old, (hdl / item.file).read_text("utf-8").count(item.old)) for item in (*DEFECTS, LED)]
    assert [old for old, count in places if count != 1] == []


@pytest.mark.nightly
def test_defects_are_found(tmp_path, capsys):
    """Each makes the self-test fail in the step that must see it first; without one all pass."""
    board = find_board(SMALL)
    library, chosen = build_with_defects(tmp_path)
    out = tmp_path / "report.json"
    wrong = []
    for number, item in enumerate((None, *DEFECTS)):
        chosen.write_text(f"{number:02x}\n")
        with BoardDevice(board, library=library) as simulator:
            rate = FAST if item and item.step == "identity" else SLOW
            status = app.main(["selftest", f"{simulator.path}@{rate}", "--json", str(out)])
        error = capsys.readouterr().err
        steps = json.loads(out.read_text())["steps"]
        failed = {step["name"]: step["found"] for step in steps if not step["passed"]}
        if item is None:
            seen = status == 0 and not failed
        else:
            first = next(iter(failed), "")
            seen = (
                status == 1
                and first == item.step
                and item.says in failed[first]
                and set(failed) <= {item.step, *item.others}
                and f"failed: {', '.join(failed)}" in error
            )
        if not seen:
            wrong.append((item and item.new, failed, error))

    chosen.write_text(f"{len(DEFECTS) + 1:02x}\n")
    bench = open_bench(board, library)
    bench.run(CYCLES)
    assert bench.leds() == (True, True)  # nothing to light them for
    bench.close()
    assert not wrong, "\n".join(map(str, wrong))
