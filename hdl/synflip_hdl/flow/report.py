"""The report of a build: resources, clock, critical path, and predicted network samples a second."""

import re
from pathlib import Path
from typing import Any

from synflip._version import __version__
from synflip.inference.end_to_end import rate
from synflip.inference.throughput import activities, predict
from synflip.spec.fronts import Link
from synflip.spec.geometry import Geometry

from synflip_hdl.flow.job import BuildJob, reached_clock
from synflip_hdl.flow.resources import CARRIES, logic_cells, total
from synflip_hdl.flow.usb_timing import ASYNC, is_usb


def make_report(
    job: BuildJob, cells: dict[str, int], placed: dict[str, Any] | None, product: Path | None
) -> dict[str, Any]:
    """The report as a dictionary that JSON can hold. Clocks in Hz.

    cells: the netlist's cells by type. placed, product: nextpnr's report and the bitstream; None if the board
    has no open place and route.
    """
    geometry, board = job.geometry, job.board
    counted = job.resources(cells)
    filled = logic_cells(board.family, placed["utilization"]) if placed is not None else None
    reached = reached_clock(placed) if placed is not None else None
    slots = geometry.lanes * geometry.banks
    clock = min(reached, job.clock) if reached is not None else job.clock
    return {
        "synflip": __version__,
        "board": board.name,
        "device": board.device,
        "geometry": geometry.text,
        "lanes": geometry.lanes,
        "banks": geometry.banks,
        "bits": geometry.bits,
        "front": str(job.front),
        "source": f"mtj, {geometry.devices} devices" if geometry.devices else "lfsr",
        "bitstream": product.name if product is not None else None,
        "resources": {
            name: {"used": item.used, "available": item.available} for name, item in counted.items()
        },
        "resources_from": f"the netlist that {'nextpnr places' if placed is not None else 'Yosys writes'}",
        "carries": total(CARRIES[board.family], cells),
        "logic_cells": {"used": filled.used, "available": filled.available} if filled is not None else None,
        "parts": job.parts,
        "slots": slots,
        "luts_per_slot": round(counted["LUTs"].used / slots, 1),
        "synapses_on_chip": slots * geometry.weight_depth,
        "clock_asked_hz": job.clock,
        "clock_reached_hz": reached,
        "clock_from": "nextpnr, its slowest corner" if placed is not None else "not placed here",
        "meets_timing": job.is_met(placed) if placed is not None else None,
        "usb": job.usb_timing(placed) if placed is not None else None,
        "critical_path": critical_path(placed) if placed is not None else None,
        "predictions": _predictions(geometry, clock, board.link(job.front)),
        "cells": cells,
        "seconds": job.watch.seconds,
        "seed": job.seed,
        "seeds": job.tried,
    }


def critical_path(placed: dict[str, Any]) -> dict[str, Any] | None:
    """The longest path between two registers of the accelerator's clock; None if there is none.

    from, to: the registers' names. nanoseconds: its delay, of which ``logic`` in cells and ``wires`` between
    them. levels: cells with a delay on the way.
    """
    inside = [
        item
        for item in placed["critical_paths"]
        if item["from"] == item["to"] and item["from"] != ASYNC and not is_usb(item["from"])
    ]
    if not inside:
        return None
    path = max(inside, key=lambda item: sum(hop["delay"] for hop in item["path"]))["path"]
    wires = sum(hop["delay"] for hop in path if hop["type"] == "routing")
    total = sum(hop["delay"] for hop in path)
    return {
        "from": _cell(path[0]["from"]["cell"]),
        "to": _cell(path[-1]["to"]["cell"]),
        "nanoseconds": round(total, 2),
        "logic": round(total - wires, 2),
        "wires": round(wires, 2),
        "levels": sum(hop["type"] == "logic" and hop["delay"] > 0 for hop in path),
    }


def _cell(name: str) -> str:
    """A register's or memory's name without the suffixes of the tools and the names of the tops."""
    name = re.split(r"_(?:TRELLIS|SB_|DFF|LUT4|CCU2C|PFUMX|L6MUX|MUX2|ALU)", name)[0]
    name = re.sub(r"(\.rows\.rows[.\d]*|\$[A-Z_]+\w*)$", "", name)
    return re.sub(r"^(serial|usb)\.(accelerator\.)?", "", name)


def _predictions(geometry: Geometry, clock: float, link: Link) -> list[dict[str, Any]]:
    """Network samples a second, and images a second over ``link`` with one sample of each."""
    found = predict(geometry, clock)
    for entry, activity in zip(found, activities(), strict=True):
        if entry["fits"]:
            entry["link_images_per_second"] = round(rate(geometry, clock, activity, link, 1).images)
    return found
