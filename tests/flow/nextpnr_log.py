"""The numbers in nextpnr's log, and a build's report held against them."""

import re

from synflip_hdl.flow.resources import LOGIC_CELLS


def of_log(log, *words):
    """The sum of the first numbers that ``log`` has beside each of ``words``."""
    found = [re.search(rf"^Info:\s+(?:{word}:\s+(\d+)|(\d+) {word}$)", log, re.M) for word in words]
    return sum(int(match[1] or match[2]) for match in found)


def utilization(log):
    """nextpnr's "Device utilisation", as its report has it."""
    lines = re.findall(r"^Info: \t\s*(\w+):\s+(\d+)/\s*(\d+)", log, re.M)
    return {name: {"used": int(used), "available": int(there)} for name, used, there in lines}


def used(report):
    return {name: item["used"] for name, item in report["resources"].items()}


def check_against_log(family, report, log):
    """Every number of ``report`` that nextpnr logs of a design of ``family``."""
    counts = used(report)
    if family == "ice40":
        assert counts["LUTs"] == of_log(log, "LCs used as LUT4 only", "LCs used as LUT4 and DFF")
        assert counts["flip-flops"] == of_log(log, "LCs used as DFF only", "LCs used as LUT4 and DFF")
        assert counts["block RAMs"] == of_log(log, "ICESTORM_RAM")
        assert report["carries"] >= of_log(log, "LCs used as CARRY only")
    elif family == "ecp5":
        assert counts["LUTs"] == of_log(log, "Total LUT4s")
        assert counts["flip-flops"] == of_log(log, "Total DFFs") == of_log(log, "TRELLIS_FF")
        assert counts["block RAMs"] == of_log(log, "DP16KD")
        assert report["carries"] == of_log(log, "carry LUTs")
    else:
        assert counts["flip-flops"] == of_log(log, "DFF")
        assert counts["block RAMs"] == of_log(log, "BSRAM")
        # nextpnr adds an ALU at the ends of carry chains.
        assert report["carries"] <= of_log(log, "ALU")
        assert of_log(log, "LUT4") == counts["LUTs"] - report["carries"] + of_log(log, "ALU")
    there = utilization(log)
    names = {"ice40": "ICESTORM_RAM", "ecp5": "DP16KD", "gowin": "BSRAM"}
    assert report["resources"]["LUTs"]["available"] == there[LOGIC_CELLS[family]]["available"]
    assert report["resources"]["block RAMs"]["available"] == there[names[family]]["available"]
