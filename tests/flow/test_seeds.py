"""Several seeds on one netlist, the netlist that is kept, and what is said meanwhile; nextpnr is a stub."""

import json
import re
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from synflip.cli import app, boards
from synflip.errors import SynflipError
from synflip.report.sections import find_section
from synflip.spec.geometry import Geometry
from synflip.util.programs import ToolError
from synflip_hdl.boards.catalogue import find_board
from synflip_hdl.flow import build_times, job, kept_netlist, toolchain
from synflip_hdl.flow.build import build
from synflip_hdl.flow.job import NETLIST, BuildJob
from synflip_hdl.flow.kept_netlist import STAMP
from synflip_hdl.flow.seeds import MOST, SEEDS, parse_seeds, place_with_seeds

BOARD = find_board("ice40-hx8k")


@pytest.fixture
def nextpnr(monkeypatch):
    """A nextpnr that reaches ``megahertz[seed]``, or fails where there is none; ``seeds``: what it had."""
    fake = SimpleNamespace(megahertz={}, seeds=[], commands=[])

    def run(tool, arguments, folder, advance=lambda *args: None):
        if tool == "icepack":
            (folder / "synflip.bin").write_text((folder / "synflip.asc").read_text())
            return ""
        seed = int(arguments[arguments.index("--seed") + 1])
        fake.seeds.append(seed)
        fake.commands.append(list(arguments))
        (folder / f"{tool}.log").write_text(f"log of {seed}\n")
        if seed not in fake.megahertz:
            raise ToolError(f"{tool} failed: ERROR: of {seed}", folder / f"{tool}.log")
        report = {
            "fmax": {"clk": {"achieved": fake.megahertz[seed]}},
            "utilization": {"ICESTORM_LC": {"used": 9, "available": 7680}},
            "critical_paths": [],
        }
        (folder / "nextpnr.json").write_text(json.dumps(report))
        (folder / job.PLACED).write_text(f"placed of {seed}")
        (folder / "synflip.asc").write_text(f"bits of {seed}")
        return f"log of {seed}\n"

    monkeypatch.setattr(job, "run", run)
    return fake


@pytest.fixture
def yosys(monkeypatch):
    """A Yosys that writes a netlist of one LUT; it is a list of the folders that it ran in."""
    ran = []

    def synthesize(read, synth, write, folder, advance):
        ran.append(folder)
        top = {"attributes": {"top": "1"}, "cells": {"serial.link.x": {"type": "SB_LUT4"}}}
        (folder / NETLIST).write_text(json.dumps({"modules": {"synflip": top}}))

    monkeypatch.setattr(job, "synthesize", synthesize)
    return ran


def placing(folder, megahertz=48.0):
    return BuildJob(BOARD, BOARD.geometry, megahertz * 1e6, folder)


def show(title):
    return nullcontext(lambda *args: None)


def test_seeds_are_tried_until_one_meets_the_clock(nextpnr, tmp_path):
    nextpnr.megahertz = {3: 40.0, 4: 47.5, 5: 48.0, 6: 60.0}
    work, titles = placing(tmp_path), []
    placed = place_with_seeds(work, (3, 4, 5, 6), lambda title: titles.append(title) or show(title))
    assert nextpnr.seeds == [3, 4, 5] and work.seed == 5
    assert placed["fmax"]["clk"]["achieved"] == 48.0
    assert titles == [f"nextpnr, seed {seed} ({place} of 4)" for place, seed in enumerate((3, 4, 5), 1)]
    assert [(item["seed"], item["clock_reached_hz"]) for item in work.tried] == [
        (3, 40e6), (4, 47.5e6), (5, 48e6)
    ]  # fmt: skip
    # One netlist, and apart from the seed one command.
    assert {tuple(w for w in words if w not in "345") for words in nextpnr.commands} == {
        tuple(w for w in nextpnr.commands[0] if w != "3")
    }


def test_the_best_is_kept_where_none_meets_the_clock(nextpnr, tmp_path):
    nextpnr.megahertz = {1: 40.0, 2: 47.5, 4: 46.0}
    work = placing(tmp_path)
    place_with_seeds(work, (1, 2, 3, 4), show)
    assert work.seed == 2 and [item["clock_reached_hz"] for item in work.tried] == [40e6, 47.5e6, None, 46e6]
    assert (tmp_path / "synflip.asc").read_text() == "bits of 2"
    assert (tmp_path / job.PLACED).read_text() == "placed of 2"
    assert (tmp_path / "nextpnr-ice40.log").read_text() == "log of 2\n"
    assert json.loads((tmp_path / "nextpnr.json").read_text())["fmax"]["clk"]["achieved"] == 47.5
    kept = {str(path.relative_to(tmp_path)) for path in (tmp_path / SEEDS).rglob("*") if path.is_file()}
    assert kept == {f"seeds/{seed}/nextpnr-ice40.log" for seed in (1, 3, 4)}


def test_the_first_of_two_is_kept_with_its_files_and_its_seconds(nextpnr, tmp_path, monkeypatch):
    now, place = [0.0], job.run

    def run(tool, arguments, *others):
        now[0] += 10.0 * int(arguments[arguments.index("--seed") + 1])
        return place(tool, arguments, *others)

    monkeypatch.setattr(job, "run", run)
    monkeypatch.setattr(toolchain.time, "perf_counter", lambda: now[0])
    nextpnr.megahertz = {1: 47.0, 2: 46.0}
    work = placing(tmp_path)
    place_with_seeds(work, (1, 2), show)
    assert (tmp_path / "synflip.asc").read_text() == "bits of 1"
    assert [item["seconds"] for item in work.tried] == [10.0, 20.0]
    assert work.watch.seconds == {"nextpnr-ice40": 10.0}


def test_every_seed_may_fail(nextpnr, tmp_path):
    with pytest.raises(
        ToolError, match=r"every seed: .*ERROR: of 2; its output is in .*seeds/2/nextpnr-ice40"
    ):
        place_with_seeds(placing(tmp_path), (1, 2), show)
    with pytest.raises(ToolError, match=r"^nextpnr-ice40 failed: ERROR: of 7; its output is in .*ice40\.log"):
        place_with_seeds(placing(tmp_path), (7,), show)
    assert (tmp_path / "nextpnr-ice40.log").is_file()


def test_one_seed_leaves_no_folder_of_seeds(nextpnr, tmp_path):
    nextpnr.megahertz = {7: 12.0}
    work = placing(tmp_path)
    place_with_seeds(work, (7,), show)
    assert work.seed == 7 and not (tmp_path / SEEDS).exists()


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("3", [2, 1, 3]),
        ("1", [2]),
        ("4", [2, 1, 3, 4]),
        ("1,5,9", [1, 5, 9]),
        ("7, 7,1", [7, 1]),
        ("9,", None),
    ],
)
def test_seeds_are_parsed(text, seeds):
    if seeds is None:
        with pytest.raises(SynflipError, match="neither a number of seeds"):
            parse_seeds(text, 2)
    else:
        assert parse_seeds(text, 2) == seeds


@pytest.mark.parametrize("text", ["", "0", "-1", "1,0", "x", "1.5", "1;2", "²", str(MOST + 1), f"1,{2**31}"])
def test_what_is_no_seed_is_refused(text):
    with pytest.raises(SynflipError, match=r"--seeds .* is neither"):
        parse_seeds(text, 2)


def test_the_netlist_serves_until_its_sources_change(yosys, nextpnr, tmp_path, monkeypatch):
    nextpnr.megahertz = {1: 60.0, 2: 61.0}
    titles = []

    def step(title):
        titles.append(title)
        return show(title)

    first = build(BOARD, BOARD.geometry, tmp_path, step=step)
    assert len(yosys) == 1 and titles[1] == "Yosys" and first["seed"] == BOARD.seed
    again = build(BOARD, BOARD.geometry, tmp_path, seeds=[2], step=step)
    assert len(yosys) == 1 and "netlist is that of the last build" in titles[-3]
    assert again["seed"] == 2 and again["seconds"]["yosys"] == first["seconds"]["yosys"]
    assert again["parts"] == first["parts"] and again["cells"] == first["cells"]
    build(BOARD, BOARD.sized("16x1,weight_depth=300", None, 0), tmp_path)  # other gateware
    assert len(yosys) == 2
    (tmp_path / NETLIST).write_text("{")  # a netlist that was cut off
    build(BOARD, BOARD.sized("16x1,weight_depth=300", None, 0), tmp_path)
    assert len(yosys) == 3
    for damaged in ("", "[]", '{"made_of": 1}', "x" * 5000):
        (tmp_path / STAMP).write_text(damaged)
        build(BOARD, BOARD.sized("16x1,weight_depth=300", None, 0), tmp_path)
    assert len(yosys) == 7
    monkeypatch.setattr(kept_netlist, "version", lambda package: "another")
    build(BOARD, BOARD.sized("16x1,weight_depth=300", None, 0), tmp_path)
    assert len(yosys) == 8
    monkeypatch.setattr(kept_netlist, "CHANGES", ())  # other code that changes netlists
    build(BOARD, BOARD.sized("16x1,weight_depth=300", None, 0), tmp_path)
    assert len(yosys) == 9


@pytest.mark.parametrize(
    ("name", "place"), [("a.il", '  attribute \\src "/a/b.py:{}"\n'), ("a.v", '  (* src = "/a/b.py:{}" *)\n')]
)
def test_the_places_of_the_sources_do_not_count(name, place, tmp_path):
    found = set()
    for line, body in ((1, "wire a\n"), (2, "wire a\n"), (2, "wire b\n")):
        (tmp_path / name).write_text(place.format(line) + body)
        found.add(kept_netlist.digest_of("x", [tmp_path / name]))
    assert len(found) == 2


def test_a_build_looks_at_its_netlist_once(yosys, nextpnr, tmp_path, monkeypatch):
    """It may have a hundred megabytes."""
    nextpnr.megahertz = {1: 60.0}
    looked = []
    for name in ("digest_of", "kept_seconds"):
        function = getattr(job, name)
        monkeypatch.setattr(job, name, lambda *args, of=function: looked.append(of.__name__) or of(*args))
    for _ in ("synthesized", "kept"):
        build(BOARD, BOARD.geometry, tmp_path)
        assert sorted(looked) == ["digest_of", "kept_seconds"]
        looked.clear()
    assert len(yosys) == 1


def test_the_command_says_each_seeds_clock_and_how_long_it_takes(yosys, nextpnr, tmp_path, capsys):
    nextpnr.megahertz = {1: 40.0, 2: 47.5}
    assert app.main(["build", "ice40-hx8k", "--out", str(tmp_path), "--seeds", "3"]) == 1
    said = capsys.readouterr()
    assert "1: 40.0 MHz, 2: 47.5 MHz, 3: nextpnr-ice40 failed: ERROR: of 3; 2 is kept" in " ".join(
        said.out.split()
    )
    tried = json.loads((tmp_path / job.REPORT).read_text())["seeds"]
    assert [item["failed"] for item in tried] == [None, None, "nextpnr-ice40 failed: ERROR: of 3"]
    assert "47.5 MHz reached, 48 asked for: try --seeds 8 or a lower --clock" in said.err
    assert f"This usually takes {build_times.usual_time('ice40-hx8k', BOARD.geometry)} a seed ..." in said.err
    assert "nextpnr, seed 2 (2 of 3) ..." in said.err
    words = ["build", "ice40-hx8k", "--out", str(tmp_path), "--seed", "2"]
    assert app.main(words) == 1 and nextpnr.seeds == [1, 2, 3, 2]
    capsys.readouterr()
    assert app.main([*words, "--seeds", "3"]) == 1
    assert "give one of the two" in capsys.readouterr().err
    assert app.main(["build", "arty-a7-35", "--out", str(tmp_path), "--seeds", "3"]) == 1
    assert "is not placed here" in capsys.readouterr().err


def test_a_step_of_the_command_says_what_the_tool_does(monkeypatch):
    said = []
    monkeypatch.setattr(
        "synflip.util.progress.lines",
        lambda title, begins: nullcontext(lambda *args: said.append((title, *args))),
    )
    with boards._step("nextpnr, seed 2") as advance:
        advance(3, 0, "placing")
        advance(1, 9, "routing")
    assert said == [("nextpnr, seed 2", 3, None, "placing"), ("nextpnr, seed 2", 1, 9, "routing")]


def test_times_are_ranges(tmp_path):
    assert build_times.time_range({"yosys": 141, "nextpnr-ecp5": 2139}) == "19 to 76 min"
    assert build_times.time_range({"yosys": 0.2, "nextpnr-ecp5": 31.0}) == "15 to 63 s"
    path = tmp_path / "times.json"
    report = {"board": "b", "geometry": "16x1,bits=2", "seconds": {"yosys": 60.0}, "cells": {}}
    maps = {**report, "geometry": "16x1,bits=2,map_depth=64", "seconds": {"yosys": 600.0}}
    build_times.write_times(path, [maps, report])
    kind = {"board": "b", "lanes": 16, "banks": 1, "bits": 2}
    assert json.loads(path.read_text()) == [
        {**kind, "convolutions": True, "seconds": {"yosys": 600.0}},
        {**kind, "convolutions": False, "seconds": {"yosys": 60.0}},
    ]
    assert build_times.usual_time("b", BOARD.geometry, path) == "1 to 2 min"
    with_maps = Geometry.parse("16x1", bits=2, map_depth=256)
    assert build_times.usual_time("b", with_maps, path) == "5 to 20 min"
    assert build_times.usual_time("c", BOARD.geometry, path) is None


def test_every_tabulated_build_has_its_time():
    page = Path(__file__).parents[2] / "docs/results/boards.md"
    _, section, _ = find_section(page, "builds")
    tabulated = re.findall(r"^\| (\S+) \| \S+ \| (\w+), k = (\d+) \|", section, re.M)
    assert len(tabulated) >= 7
    for board, size, bits in tabulated:
        assert build_times.usual_time(board, Geometry.parse(size, bits=int(bits)))
