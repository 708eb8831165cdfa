"""The block diagram as SVG: places and wires are drawn here, and what they say is read from the gateware.

A connection that the gateware has and the picture lacks, or the other way round, is an error.
"""

from dataclasses import dataclass

from synflip.errors import SynflipError
from synflip.report.svg import Box, box, label, page, wire
from synflip.spec.geometry import Geometry

from synflip_hdl.diagrams.structure import Link, Structure, structure

WIDTH, HEIGHT = 1000, 580
#: Blocks that together are the registers' bar.
BUS = ("registers", "buffer", "stage", "skid", "host_keys")
BLOCKS = {
    "source": Box(20, 130, 160, 60, "random"),
    "keys": Box(20, 240, 160, 60, "memory"),
    "sequencer": Box(390, 130, 200, 60, "control"),
    "events": Box(390, 240, 200, 60, "memory"),
    "array": Box(12, 350, 680, 130, "group"),
    "requantizer": Box(780, 366, 200, 76, "compute"),
    "votes": Box(780, 500, 200, 60, "compute"),
}


@dataclass(frozen=True)
class Wire:
    """A connection: from an interface to another, as ``keys.reads``; its path; the place of its label, whose
    text is filled with the widths of ``Structure``."""

    source: str
    sink: str
    path: str
    place: tuple[int, int]
    text: str


def wires(found: Structure) -> tuple[Wire, ...]:
    """All connections between blocks that are not the bus's. Answers that go the other way have none of their
    own."""
    size = found.geometry
    event = found.port("events.events__payload").bits // size.banks
    values = f"{size.banks} x {size.activation_bits} bits"
    return (
        Wire("source.keys", "keys.source", "M100 190 V240", (108, 219), f"{size.banks} keys of 64 bits"),
        Wire("keys.reads", "array.keys", "M80 300 V366", (14, 342), f"{size.banks} x 64 bits"),
        Wire("array.keys", "keys.reads", "M150 350 V300", (158, 329), "row blocks"),
        Wire("sequencer.keys", "keys.demand", "M390 150 H260 V270 H180", (188, 262), "needs"),
        Wire("sequencer.lists", "events.reads", "M490 190 V240", (498, 219), "next event"),
        Wire("sequencer.issue", "array.issue", "M390 174 H330 V350", (338, 329), "where keys, weights are"),
        Wire(
            "events.events", "array.events", "M545 300 V366",
            (553, 329), f"{size.banks} x {event} bits: row block, x",
        ),
        Wire("sequencer.tiles", "requantizer.tiles", "M590 174 H880 V366", (888, 329), "tile"),
        Wire(
            "array.sums", "requantizer.sums", "M670 404 H780",
            (698, 396), f"{size.lanes} x {size.accumulator_bits} bits",
        ),
        Wire("requantizer.appends", "events.appends", "M810 366 V270 H590", (606, 262), f"hidden: {values}"),
        Wire("requantizer.logits", "votes.logits", "M880 442 V500", (888, 474), "a logit a cycle"),
        Wire(
            "votes.decisions", "sequencer.decisions", "M980 530 H992 V146 H590",
            (740, 138), "image leaves, or stays in the queue",
        ),
    )  # fmt: skip


def block_diagram(geometry: Geometry) -> str:
    """The SVG of the accelerator of ``geometry``. Raises SynflipError for a connection without a wire."""
    found = structure(geometry)
    drawn = wires(found)
    check(found, drawn)
    size = found.geometry
    q, p = size.banks, size.lanes
    source = f"{size.devices} junctions" if size.devices else "LFSR113"
    entry = p * (size.bits + 1)
    texts = {
        "source": ("key source", f"{source}; {q} a cycle"),
        "keys": ("key memory", f"{q} banks, {size.key_halves} x {size.key_depth} rows"),
        "sequencer": ("sequencer", "sample, image, layer, tile"),
        "events": ("event lists", f"{q} banks of {size.event_depth:,}; no zeros"),
        "requantizer": ("requantizer", "bias, shift, clamp;", f"{q} outputs a cycle"),
        "votes": ("votes", "argmax, counts, early stopping"),
    }
    inside = {
        Box(30, 366, 180, 76, "random"): (
            "coin comparators", "rotate key, XOR 3 bits,", f"u < T(q), {size.bits} bits",
        ),
        Box(244, 366, 136, 76, "memory"): (
            "weights", f"{q} x {size.weight_depth:,} entries", f"of {entry} bits: q, sign",
        ),
        Box(420, 366, 250, 76, "compute"): (
            "lanes", "(x & coin) ^ sign, adder tree over", "the banks, accumulator",
        ),
    }  # fmt: skip
    parts = [
        *_bus(found),
        *(box(BLOCKS[name], *lines) for name, lines in texts.items()),
        box(BLOCKS["array"]),
        label(22, 472, f"synapse array, {q} banks, {p} lanes: {p * q:,} coins a cycle"),
        *(box(place, *lines) for place, lines in inside.items()),
        wire("M244 404 H210"),
        wire("M120 442 V456 H545 V442"),
        label(386, 452, "coins"),
        *(wire(one.path) for one in drawn),
        *(label(*one.place, one.text) for one in drawn),
    ]  # fmt: skip
    name = f"Block diagram of the accelerator, {size.name}, k = {size.bits}"
    bits = "; ".join(f"{one.source} to {one.sink}: {found.bits(one.source, one.sink)} bits" for one in drawn)
    return page(WIDTH, HEIGHT, name, f"What the blocks drive of each other: {bits}.", parts)


def _bus(found: Structure) -> list[str]:
    """The registers' bar, and which blocks it reaches."""
    host = [name for name in BLOCKS if any(_ends(link) == ("registers", name) for link in found.links)]
    memories = [name for name in BLOCKS if any(_ends(link) == (name, "registers") for link in found.links)]
    return [
        box(
            Box(20, 24, 960, 66, "control"),
            "registers, behind a front end (UART, AXI)",
            f"to {', '.join(host)}: settings, start, 32-bit words that the host writes",
            f"from {', '.join(memories)}: what the host reads",
        ),
        wire("M490 90 V130"),
        wire("M100 90 V130"),
    ]


def _ends(link: Link) -> tuple[str, str]:
    """The blocks that it connects; those of BUS are one."""
    source, sink = link.source[0], link.sink[0]
    return ("registers" if source in BUS else source, "registers" if sink in BUS else sink)


def check(found: Structure, drawn: tuple[Wire, ...]) -> None:
    """Raise SynflipError unless the wires are the structure's links: each link is a wire, or the bus's, or
    the answer of one."""
    ends = {(one.source, one.sink) for one in drawn}
    names = {*BLOCKS, *BUS}
    if unknown := sorted(found.blocks.keys() ^ names):
        raise SynflipError(f"the block diagram and the gateware differ: {', '.join(unknown)} is in one only")
    links = {
        (".".join(link.source), ".".join(link.sink))
        for link in found.links
        if not {link.source[0], link.sink[0]} & set(BUS)
    }
    missing = sorted(link for link in links if link not in ends and link[::-1] not in ends)
    extra = sorted(ends - links)
    if missing or extra:
        differ = [f"{source} to {sink}" for source, sink in (*missing, *extra)]
        raise SynflipError(f"the block diagram and the gateware differ: {', '.join(differ)} is in one only")
