"""What a report says that a design takes, against what Yosys and nextpnr say of it in their own logs."""

import re
from pathlib import Path

import pytest
from synflip_hdl.boards.catalogue import find_board
from synflip_hdl.flow import boards_page
from synflip_hdl.flow.cell_counts import NAMES
from synflip_hdl.flow.job import BuildJob
from synflip_hdl.flow.report import make_report
from synflip_hdl.flow.resources import COSTS, LEGEND, LOGIC_CELLS

from tests.flow.nextpnr_log import check_against_log, used, utilization

#: Of the iCEBreaker's build: Yosys's statistics, and what nextpnr logs of it.
ICEBREAKER = """
        6   SB_IO
       29   SB_RAM40_4K
        3   SB_SPRAM256KA
     5387 submodules
      888   SB_CARRY
      653   SB_DFF
      367   SB_DFFE
      855   SB_DFFESR
        2   SB_DFFR
      651   SB_DFFSR
     3585   SB_LUT4
Info:     2324 LCs used as LUT4 only
Info:     1261 LCs used as LUT4 and DFF
Info:     1267 LCs used as DFF only
Info:      283 LCs used as CARRY only
Info: Device utilisation:
Info: 	         ICESTORM_LC:    5131/   5280    97%
Info: 	        ICESTORM_RAM:      29/     30    96%
"""
#: Of the ULX3S's, after flip-flops have gone into block RAMs.
ULX3S = """
      190   DP16KD
     4315   CCU2C
       22   L6MUX21
    19371   LUT4
     1976   PFUMX
       78   TRELLIS_DPR16X4
    18467   TRELLIS_FF
Info: Logic utilisation before packing:
Info:     Total LUT4s:     28469/83640    34%
Info:         logic LUTs:  19371/83640    23%
Info:         carry LUTs:   8630/83640    10%
Info:           RAM LUTs:    312/10455     2%
Info:          RAMW LUTs:    156/20910     0%
Info:      Total DFFs:     18467/83640    22%
Info: Device utilisation:
Info: 	              DP16KD:     190/    208    91%
Info: 	          TRELLIS_FF:   18467/  83640    22%
Info: 	        TRELLIS_COMB:   28793/  83640    34%
"""
#: Of the Tang Nano's.
TANG_NANO = """
       13   SDPX9B
        6   DPX9B
      360   LUT1
      470   LUT2
     1303   LUT3
     1815   LUT4
      679   MUX2_LUT5
     1056   ALU
     1312   DFF
      774   DFFE
        2   DFFP
      724   DFFR
      820   DFFRE
        5   DFFS
       74   DFFSE
Info: Device utilisation:
Info: 	                LUT4:    5172/   8640    59%
Info: 	                 ALU:    1224/   6480    18%
Info: 	                 DFF:    3711/   6480    57%
Info: 	               BSRAM:      19/     26    73%
"""


def reported(name, log):
    """The report of a build of the board ``name`` whose logs say ``log``."""
    board = find_board(name)
    cells = {kind: int(count) for count, kind in re.findall(r"^ +(\d+)   (\w+)$", log, re.M)}
    placed = {"utilization": utilization(log), "fmax": {"clk": {"achieved": 50.0}}, "critical_paths": []}
    job = BuildJob(board, board.geometry, board.clock, Path("nowhere"))
    job.parts = {part: {"LUTs": 0} for part in NAMES}
    return make_report(job, cells, placed, None)


@pytest.mark.parametrize(
    ("name", "log", "counts", "carries", "filled"),
    [
        ("icebreaker", ICEBREAKER, (3585, 2528, 29), 888, (5131, 5280)),
        ("ulx3s-85f", ULX3S, (28469, 18467, 190), 8630, (28793, 83640)),
        ("tang-nano-9k", TANG_NANO, (5004, 3711, 19), 1056, (5172, 8640)),
    ],
)
def test_numbers_are_those_of_the_logs(name, log, counts, carries, filled):
    report = reported(name, log)
    check_against_log(find_board(name).family, report, log)
    assert tuple(used(report).values()) == counts
    assert report["carries"] == carries
    assert report["logic_cells"] == dict(zip(("used", "available"), filled, strict=True))
    assert report["luts_per_slot"] == round(counts[0] / report["slots"], 1)
    row = next(line for line in boards_page.markdown([report]).splitlines() if line.startswith(f"| {name}"))
    shares = [f"{item['used']:,} of {item['available']:,}" for item in report["resources"].values()]
    cells = f"{filled[0]:,} of {filled[1]:,}"
    assert f"| {' | '.join([*shares, f'{carries:,}', cells])} |" in row


def test_a_design_that_is_not_placed_fills_no_logic_cells():
    board = find_board("arty-a7-35")
    job = BuildJob(board, board.geometry, board.clock, Path("nowhere"))
    cells = {"LUT6": 5, "INV": 1, "SRL16E": 2, "RAM32M": 1, "FDRE": 7, "CARRY4": 3, "RAMB36E1": 2, "MUXF7": 1}
    report = make_report(job, cells, None, None)
    assert used(report) == {"LUTs": 12, "flip-flops": 7, "block RAMs": 4}
    assert report["carries"] == 12 and report["logic_cells"] is None


def test_the_page_says_what_its_columns_count():
    text = boards_page.markdown([reported("icebreaker", ICEBREAKER)])
    heads = text.splitlines()[0]
    for name, meaning in LEGEND.items():
        assert f" {name} |" in heads and f"- **{name}**: {meaning}." in text
    assert {name for kinds in COSTS.values() for name in kinds} <= set(LEGEND)
    assert all(f"`{cell}`" in LEGEND["logic cells"] for cell in LOGIC_CELLS.values())
