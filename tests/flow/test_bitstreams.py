"""A small bitstream of each family with open tools, taken apart again by the family's own unpacker."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from synflip.spec.fronts import Front
from synflip_hdl.boards.catalogue import find_board
from synflip_hdl.flow.build import build
from synflip_hdl.flow.job import FILES, NAME, PLACED, BuildJob
from synflip_hdl.flow.toolchain import run

from tests.flow.nextpnr_log import check_against_log

pytestmark = pytest.mark.tools

SMALL = (
    "16x1,bits=2,activation_bits=1,weight_depth=64,event_depth=16,key_depth=16,bias_depth=32,image_slots=1,"
    "result_depth=16,log_depth=16,margin_depth=16,layer_depth=2,key_halves=1,sample_bits=4"
)


FULL_SPEED = {"full_speed.clocks.bit_clock": "12.00", "full_speed.clocks.sample_clock": "48.00"}


def ice40_tiles(path: Path) -> dict[str, list[str]]:
    """Bits of every tile of an .asc file."""
    tiles: dict[str, list[str]] = {}
    bits: list[str] = []
    for line in path.read_text().splitlines():
        if line.startswith("."):
            bits = []
            if not line.startswith((".comment", ".sym")):
                tiles[line] = bits
        elif line:
            bits.append(line)
    return tiles


#: Settings of an ECP5 that are no bits: fixed wires, and lookup tables that are all ones, as an empty chip's.
NO_BITS = re.compile(
    r" arc: (F\d F\d_SLICE|JDI[A-D] JPADDI[A-D]_PIO|\w+_JINCK \w+_JPADDI)$|_JREFCLK\d_0$| word: \S+ 1+$"
)


def ecp5_settings(path: Path) -> set[str]:
    """Wires and lookup tables of every tile of a text configuration."""
    settings = set()
    tile = ""
    for line in path.read_text().splitlines():
        if line.startswith("."):
            tile = line
        elif re.match(r"arc: |word: SLICE\S+INIT ", line):
            settings.add(f"{tile} {line}")
    return settings


def check_ice40(folder: Path, report: dict) -> None:
    run("iceunpack", [f"{NAME}.bin", "unpacked.asc"], folder)
    placed, unpacked = ice40_tiles(folder / f"{NAME}.asc"), ice40_tiles(folder / "unpacked.asc")
    assert len(placed) > 800 and any("1" in "".join(bits) for bits in placed.values())
    differ = [tile for tile in placed if unpacked.get(tile) != placed[tile] and "1" in "".join(placed[tile])]
    assert not differ


def check_ecp5(folder: Path, report: dict) -> None:
    # No registers but LUNA's whose resets depend on themselves: Yosys would cut the loop that it sees there.
    assert report["front"] == "usb" or "Found 0 SCCs." in (folder / "yosys.log").read_text()
    run("ecpunpack", ["--input", f"{NAME}.bit", "--textcfg", "unpacked.config"], folder)
    placed, unpacked = ecp5_settings(folder / f"{NAME}.config"), ecp5_settings(folder / "unpacked.config")
    assert len(placed) > 10000
    lost = {setting for setting in placed - unpacked if not NO_BITS.search(setting)}
    assert not lost


def check_gowin(folder: Path, report: dict) -> None:
    run("gowin_unpack", ["-d", "GW1N-9C", "-o", "unpacked.v", f"{NAME}.fs"], folder)
    cells = Counter(
        re.findall(r"^\s*(LUT4|ALU|DFF\w*|BSRAM|rPLL) ", (folder / "unpacked.v").read_text(), re.M)
    )
    used = {
        name: item["used"]
        for name, item in json.loads((folder / "nextpnr.json").read_text())["utilization"].items()
    }
    assert cells["BSRAM"] == used["BSRAM"] > 0
    assert cells["rPLL"] == used["rPLL"] == 1
    assert cells["LUT4"] + cells["ALU"] >= 0.9 * (used["LUT4"])
    assert sum(count for name, count in cells.items() if name.startswith("DFF")) >= used["DFF"]


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("name", "clock", "nets"),
    [
        ("ecpix5-45f", 125e6, {"ulpi.clock": "60.00"}),
        # Its own 100 MHz need some seeds.
        (
            "ulx3s-85f",
            75e6,
            FULL_SPEED,
        ),
        ("orangecrab", 80e6, FULL_SPEED),
    ],
)
def test_a_small_bitstream_with_usb(name, clock, nets, tmp_path):
    pytest.importorskip("luna")
    board = find_board(name)
    report = build(
        board, board.sized(SMALL, None, 0), tmp_path, clock, front=Front.usb, serial_number="desk-3"
    )
    assert report["meets_timing"] and report["front"] == "usb"
    assert report["clock_reached_hz"] >= clock
    log = (tmp_path / "nextpnr-ecp5.log").read_text()
    for net, mhz in nets.items():
        assert f"constraining clock net '{net}' to {mhz} MHz" in log
    for name in ("to_usb_ns", "from_usb_ns", "from_pins_ns", "to_pins_ns"):
        assert 0 < report["usb"][name] < 1e9 / report["usb"]["clock_asked_hz"]
    check_ecp5(tmp_path, report)


@pytest.mark.parametrize(
    ("name", "seeds", "check"),
    # Not the iCEBreaker, whose options of Yosys take minutes.
    [
        pytest.param("ulx3s-85f", (), check_ecp5, marks=pytest.mark.nightly),
        # The quickest. With seeds 1 and 2 the router does not get rid of the last wires.
        ("ice40-hx8k", (3,), check_ice40),
        pytest.param("tang-nano-9k", (), check_gowin, marks=pytest.mark.nightly),
    ],
)
def test_a_small_bitstream(name, seeds, check, tmp_path):
    board = find_board(name)
    geometry = board.sized(SMALL, None, 0)
    report = build(board, geometry, tmp_path, seeds=seeds)
    assert report["clock_reached_hz"] > 10e6
    assert report["resources"]["LUTs"]["used"] > 1000
    of_cells = {
        name: item.used
        for name, item in BuildJob(board, geometry, 1e6, tmp_path).resources(report["cells"]).items()
    }
    of_parts = {name: sum(part[name] for part in report["parts"].values()) for name in of_cells}
    assert of_parts == of_cells
    assert report["parts"]["other"]["LUTs"] < of_cells["LUTs"] / 4
    assert {path.name for path in tmp_path.iterdir()} <= set(FILES)
    assert (tmp_path / PLACED).is_file() and (tmp_path / report["bitstream"]).stat().st_size > 10000
    check_against_log(board.family, report, (tmp_path / f"nextpnr-{board.family}.log").read_text())
    check(tmp_path, report)
    # What is packed is what was placed: another bitstream is noticed.
    assert json.loads((tmp_path / "report.json").read_text()) == report
