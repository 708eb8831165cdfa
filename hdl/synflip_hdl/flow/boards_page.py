"""Tables of builds, for docs/results/boards.md."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from synflip.errors import SynflipError
from synflip.inference.throughput import activities, predict
from synflip.report.tables import markdown_table
from synflip.spec.geometry import Geometry
from synflip.util.json_file import read_json

from synflip_hdl.flow.build_times import time_range
from synflip_hdl.flow.cell_counts import NAMES, OTHER
from synflip_hdl.flow.job import REPORT
from synflip_hdl.flow.resources import LEGEND

MAX_BYTES = 1 << 20
#: The entries of a report that the tables use.
KEYS = (
    *("board", "device", "geometry", "lanes", "banks", "bits", "resources", "carries", "logic_cells"),
    *("parts", "slots", "clock_asked_hz", "clock_reached_hz", "seconds"),
)


def read_report(folder: Path, keys: Sequence[str] = KEYS) -> dict[str, Any]:
    """The report of the build in ``folder``, with entries ``keys``. Raises SynflipError if there is none, or
    it is no report."""
    path = folder / REPORT
    report = read_json(path, MAX_BYTES, "a report of synflip build")
    if not isinstance(report, dict) or any(key not in report for key in keys):
        raise SynflipError(f"{path} is not a report of synflip build: it lacks some of {', '.join(keys)}")
    return report


def sections(reports: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The reports of each section of a page: builds without convolutions, and those with them."""
    found: dict[str, list[dict[str, Any]]] = {}
    for report in reports:
        found.setdefault("builds with convolutions" if has_maps(report) else "builds", []).append(report)
    return found


def has_maps(report: dict[str, Any]) -> bool:
    """Whether the accelerator runs convolutions on its array."""
    return Geometry.parse(report["geometry"]).map_depth > 0


def _predicted(report: dict[str, Any]) -> list[dict[str, Any]]:
    """What the accelerator of a report will do with the networks of now: those of its own day may have had
    other activations."""
    asked, reached = report["clock_asked_hz"], report["clock_reached_hz"]
    return predict(Geometry.parse(report["geometry"]), min(asked, reached or asked))


def markdown(reports: list[dict[str, Any]], legend: bool = True) -> str:
    """Tables: resources and clock; network samples a second; what each part takes; what limits the clock.

    legend: with what the columns mean.
    """
    heads = (
        *("board", "device", "accelerator", "LUTs", "flip-flops", "block RAMs", "carries", "logic cells"),
        *("LUTs a slot", "clock asked, reached", "a build takes"),
    )
    rows: list[Sequence[str]] = []
    for report in reports:
        used = [_share(item) for item in report["resources"].values()]
        used += [f"{report['carries']:,}", _share(report["logic_cells"]) if report["logic_cells"] else "-"]
        asked, reached = report["clock_asked_hz"], report["clock_reached_hz"]
        clock = f"{asked / 1e6:g}, {reached / 1e6:.1f} MHz" if reached else f"{asked / 1e6:g} MHz, not placed"
        accelerator = f"{report['lanes']}x{report['banks']}, k = {report['bits']}"
        head = (report["board"], report["device"], accelerator)
        rows.append((*head, *used, report["luts_per_slot"], clock, time_range(report["seconds"])))
    lines = [markdown_table(heads, rows), ""]
    if legend:
        lines += [
            "The columns, counted in the netlist that nextpnr places (logic cells: after it has routed):",
            "",
            *(f"- **{name}**: {meaning}." for name, meaning in LEGEND.items()),
            "- **a build takes**: half to twice of what Yosys, nextpnr and the packer took together.",
            "",
        ]
    lines += [
        "Network samples a second (a pass of one image), one image at a time and in batches, as the cycle",
        "model predicts them for the clock above; not measured on a board. The images are in the accelerator",
        "already: the [serial line](../reference/uart.md#throughput) brings far fewer.",
        "",
    ]
    rows, networks = [], [item["network"] for item in activities()]
    for report in reports:
        rates = [
            f"{item['samples_per_second_1']:,}; {item['samples_per_second_batch']:,} (k = {item['bits']})"
            if item["fits"]
            else f"does not fit: {item['why']}"
            for item in _predicted(report)
        ]
        rows.append((label(report), f"{report['synapses_on_chip']:,}", *rates))
    lines += [markdown_table(("board", "synapses on chip", *networks), rows)]
    lines += ["", "LUTs by part, and LUTs a slot, by the names that Yosys gives the cells:", ""]
    named = [
        report
        for report in reports
        if report["parts"][OTHER]["LUTs"] < report["resources"]["LUTs"]["used"] / 2
    ]
    rows = []
    for part in NAMES:
        counts = [(report["parts"][part]["LUTs"], report["slots"]) for report in named]
        rows.append((part, *(f"{luts:,}; {luts / slots:.1f}" for luts, slots in counts)))
    lines += [markdown_table(("part", *map(label, named)), rows)]
    lines += ["", "The longest path of each:", ""]
    for report in reports:
        path = report["critical_path"]
        if path is not None:
            lines.append(
                f"- {label(report)}: from `{path['from']}` to `{path['to']}`, "
                f"{path['nanoseconds']} ns: {path['logic']} ns of logic ({path['levels']} levels), "
                f"{path['wires']} ns of wires."
            )
    return "\n".join(lines)


def _share(item: dict[str, int]) -> str:
    return f"{item['used']:,} of {item['available']:,}"


def label(report: dict[str, Any]) -> str:
    """A build's name in tables."""
    what = ", USB" if report.get("usb") else ""
    if has_maps(report):
        what += f", {report['lanes']}x{report['banks']} with convolutions"
    return f"{report['board']}, k = {report['bits']}{what}"
