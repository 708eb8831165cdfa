"""Waveforms: what the file says is what the golden model's trace predicts, cycle by cycle."""

import re
from pathlib import Path

import numpy as np
import pytest
import pywellen
from synflip import modelfile
from synflip.errors import SynflipError
from synflip.golden.trace import Trace, cycle_trace
from synflip.spec.geometry import Geometry
from synflip_sim.simulators.waves import CYCLE, Waves, gtkwave, recording, signals

from tests.cli.helpers import fails
from tests.networks import random_model

GEOMETRY = Geometry(16, 1)
PIXELS = np.random.default_rng(2).integers(0, 256, (2, 12)).astype(np.uint8)
SAMPLES, SEED = 2, 3


@pytest.fixture(scope="module")
def trace() -> Trace:
    return cycle_trace(random_model(), GEOMETRY, PIXELS, SAMPLES, SEED)


def record(folder: Path, *arguments: str) -> int:
    from synflip.cli import app

    modelfile.save(random_model(), folder / "m.safetensors")
    np.save(folder / "x.npy", PIXELS)
    asked = ["verify", f"{folder}/m.safetensors", "--images", f"{folder}/x.npy", "--geometry", "16x1"]
    asked += ["--samples", str(SAMPLES), "--seed", str(SEED), "--waves", f"{folder}/w.fst"]
    return app.main([*asked, *arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run, recorded."""
    folder = tmp_path_factory.mktemp("waves")
    assert record(folder) == 0
    return folder


def variables(file: Path) -> dict[str, pywellen.Var]:
    return {variable.full_name: variable for variable in pywellen.Waveform(str(file)).all_vars()}


def in_cycles(variable: pywellen.Var, first: int, past: int) -> list[int]:
    """The value in each cycle."""
    return [int(variable.signal.value_at(CYCLE * cycle)) for cycle in range(first, past)]


@pytest.mark.simulator
def test_busy_rises_and_falls_where_golden_predicts(folder: Path, trace: Trace) -> None:
    wave = pywellen.Waveform(str(folder / "w.fst"))
    assert wave.file_format == "FST" and str(wave.timescale) == "1ns"
    busy = variables(folder / "w.fst")["TOP.synflip.busy"]
    assert list(busy.signal) == [(0, 1), (CYCLE * trace.cycles, 0)]
    clock = list(variables(folder / "w.fst")["TOP.synflip.clk"].signal)
    assert clock[:4] == [(0, 1), (CYCLE // 2, 0), (CYCLE, 1), (3 * CYCLE // 2, 0)]


@pytest.mark.simulator
def test_values_of_blocks_are_those_of_the_trace(folder: Path, trace: Trace) -> None:
    seen = variables(folder / "w.fst")
    valid = in_cycles(seen["TOP.synflip.logit_valid"], 0, trace.cycles)
    assert np.flatnonzero(valid).tolist() == trace.logits["cycle"].tolist()
    z = seen["TOP.synflip.requantizer.logits__payload"].signal
    low = [int(z.value_at(CYCLE * int(cycle))) & 0xFFFF for cycle in trace.logits["cycle"]]
    assert low == [int(value) & 0xFFFF for value in trace.logits["z"]]
    captures = in_cycles(seen["TOP.synflip.array.sums__capture"], 0, trace.cycles)
    assert np.flatnonzero(captures).tolist() == sorted(set(trace.tiles["cycle"].tolist()))
    sums = seen["TOP.synflip.array.sums__sums"].signal  # a wide signal: every lane's sum
    bits = GEOMETRY.accumulator_bits
    for tile in trace.tiles:
        word = int(sums.value_at(CYCLE * int(tile["cycle"])))
        lanes = [word >> bits * lane & (1 << bits) - 1 for lane in range(GEOMETRY.lanes)]
        assert lanes == [int(value) & (1 << bits) - 1 for value in tile["sums"]]


@pytest.mark.simulator
def test_save_files_name_signals_of_the_file_with_their_widths(folder: Path) -> None:
    seen = {name: variable.bitwidth for name, variable in variables(folder / "w.fst").items()}
    wanted = {f"{scope}.{name}": bits for scope, members in signals(GEOMETRY) for name, bits in members}
    assert len(wanted) > 40 and {name: seen.get(name) for name in wanted} == wanted
    lines = (folder / "w.gtkw").read_text().splitlines()
    assert lines[0] == '[dumpfile] "w.fst"'
    named = [re.sub(r"\[\d+:0\]$", "", line) for line in lines if line.startswith("TOP.")]
    assert named == list(wanted)
    titles = [line[1:] for line in lines if line.startswith("-")]
    assert titles[:3] == ["synflip", "registers", "sequencer"] and titles[-1] == "votes"
    shown = (folder / "w.sucl").read_text().splitlines()
    assert [line.split()[1] for line in shown if line.startswith("variable_add ")] == list(wanted)


@pytest.mark.simulator
def test_a_window_has_its_cycles_and_no_others(tmp_path: Path, folder: Path) -> None:
    assert record(tmp_path, "--window", "20:60") == 0
    whole, part = (variables(path / "w.fst") for path in (folder, tmp_path))
    clock = [time for time, _ in part["TOP.synflip.clk"].signal]
    assert (clock[0], clock[-1], len(clock)) == (20 * CYCLE, 60 * CYCLE - CYCLE // 2, 2 * 40)
    for name in ("TOP.synflip.sequencer.lists__index", "TOP.synflip.array.events__payload"):
        assert in_cycles(part[name], 20, 60) == in_cycles(whole[name], 20, 60)
    assert len(set(in_cycles(part["TOP.synflip.array.events__payload"], 20, 60))) > 5


def test_windows() -> None:
    assert Waves.of("w.fst") == Waves(Path("w.fst"))
    assert [(wave.first, wave.past) for wave in (Waves.of("w", "3:9"), Waves.of("w", ":9"))] == [
        (3, 9), (0, 9),
    ]  # fmt: skip
    assert Waves.of("w", "5:").past == Waves.of("w").past > 10**12
    assert [path.name for path in Waves.of("a/w.fst").files] == ["w.fst", "w.gtkw", "w.sucl"]
    for wrong in ("", "5", "a:b", "-1:5", "1:2:3", "1" * 13 + ":", "٣:٩"):
        with pytest.raises(SynflipError, match="is not FIRST:PAST"):
            Waves.of("w", wrong)
    for none in ("5:5", "9:3", "0:0"):
        with pytest.raises(SynflipError, match="has no cycle"):
            Waves.of("w", none)


def test_save_files_of_others_are_kept(tmp_path: Path) -> None:
    """GTKWave saves what its user has arranged under the name that it was given: w.gtkw."""

    def record_nothing(machine: Geometry) -> set[str]:
        with recording(waves, machine) as partial:
            partial.path.write_bytes(b"FST")
        return {path.name for path in waves.kept(machine)}

    waves = Waves(tmp_path / "w.fst")
    assert record_nothing(GEOMETRY) == set()
    before = waves.gtkwave.read_text()
    assert record_nothing(wider := Geometry(32, 2)) == set()  # ours, of another geometry
    assert waves.gtkwave.read_text() == gtkwave(wider, "w.fst") != before
    for path in (waves.gtkwave, waves.surfer):
        path.write_text(mine := path.read_text() + "mine")
        assert record_nothing(GEOMETRY) == {path.name} and path.read_text() == mine
        path.unlink()
    waves.surfer.symlink_to("elsewhere")
    assert record_nothing(GEOMETRY) == set() and (tmp_path / "elsewhere").is_file()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--device", "golden", "--waves", "w.fst"], "golden has no signals to record: --waves goes with"),
        (["--device", "/dev/null", "--waves", "w.fst"], "/dev/null has no signals to record"),
        (["--device", "icarus:16x1", "--waves", "w.fst"], "icarus:16x1 has no signals to record"),
        (["--device", "verilator", "--window", "0:5"], "--window is of --waves F.fst, which is not given"),
        (["--device", "verilator", "--waves", "w.fst", "--window", "5"], "--window '5' is not FIRST:PAST"),
        (["--device", "verilator", "--waves", "x.npy"], "cannot write x.npy: it is read too"),
        (["--device", "verilator", "--waves", "."], "cannot write .: "),
    ],
)
def test_what_cannot_be_recorded(
    arguments: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    modelfile.save(random_model(), tmp_path / "m.safetensors")
    np.save(tmp_path / "x.npy", PIXELS)
    monkeypatch.chdir(tmp_path)
    for command in (["run", "--out", "r.npz"], ["verify"]):
        asked = [command[0], "m.safetensors", "--images", "x.npy", *command[1:], *arguments]
        assert line in fails(capsys, *asked)
    assert not list(tmp_path.glob("w.*")) and not (tmp_path / "r.npz").exists()


@pytest.mark.simulator
def test_a_picture_shows_what_the_file_says(folder: Path, tmp_path: Path, trace: Trace) -> None:
    from synflip_sim.simulators.wave_diagram import LEFT, RIGHT, WIDTH, wave_diagram

    past = min(trace.cycles + 10, 400)
    picture = wave_diagram(folder / "w.fst", 0, past, ["busy", "logit_valid", "sequencer.lists__index"])
    busy, valid, *index = re.findall('class="line" d="([^"]*)"', picture)
    scale = (WIDTH - LEFT - RIGHT) / past
    edges = [float(edge) for edge in re.findall(r"H([\d.]+)", busy)]
    assert [round((edge - LEFT) / scale) for edge in edges] == [min(trace.cycles, past), past][-len(edges) :]
    steps = [round((float(edge) - LEFT) / scale) for edge in re.findall(r"H([\d.]+)", valid)]
    logits = trace.logits["cycle"]
    starts = [cycle for cycle in logits if cycle - 1 not in logits and 0 < cycle < past]
    assert [step for step in steps if step in starts] == starts
    assert len(index) > 10
    with pytest.raises(SynflipError, match=r"has no signal 'votes.wings'"):
        wave_diagram(folder / "w.fst", names=["votes.wings"])
    with pytest.raises(SynflipError, match="has no cycle 5"):
        record(tmp_path, "--window", "8:20")
        wave_diagram(tmp_path / "w.fst", 5, 9)
