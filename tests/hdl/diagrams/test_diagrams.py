"""Pictures of the accelerator: what they say is what the gateware and the golden model's trace have."""

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from synflip.cli import app
from synflip.errors import SynflipError
from synflip.golden.pass_diagram import pass_diagram
from synflip.golden.trace import cycle_trace
from synflip.spec.geometry import Geometry
from synflip_hdl.diagrams.block_diagram import block_diagram, check, wires
from synflip_hdl.diagrams.structure import Link, Structure, structure

from tests.cli.conftest import files as files  # the fixture
from tests.cli.helpers import ROOT, fails
from tests.networks import random_model

SVG = "{http://www.w3.org/2000/svg}"
GEOMETRY = Geometry(16, 2)
PIXELS = np.random.default_rng(2).integers(0, 3, (3, 12)).astype(np.uint8)


@pytest.fixture(scope="module")
def found() -> Structure:
    return structure(GEOMETRY)


def texts(picture: str) -> list[str]:
    return ["".join(element.itertext()) for element in ElementTree.fromstring(picture).iter(f"{SVG}text")]


# The structure


def test_the_structure_has_blocks_ports_and_widths(found: Structure) -> None:
    assert {"registers", "source", "keys", "events", "array", "requantizer", "votes"} < set(found.blocks)
    assert found.port("array.sums__sums").bits == 16 * GEOMETRY.accumulator_bits
    assert found.bits("keys.reads", "array.keys") == 2 * 64
    assert found.bits("keys.reads", "votes.logits") == 0
    assert ("busy", 1) in found.top
    with pytest.raises(KeyError):
        found.port("array.wings")


def test_links_go_through_registers_and_multiplexers_of_the_top(found: Structure) -> None:
    """The host's writes are a cycle late; keys come from the source or the host; a start is watched."""
    ends = {(".".join(link.source), ".".join(link.sink)) for link in found.links}
    assert ("registers.host", "array.host") in ends
    assert {("source.keys", "keys.source"), ("host_keys.value", "keys.source")} < ends
    assert not any(source == sink for source, sink in ends)


def test_junctions_are_another_source() -> None:
    geometry = Geometry(16, 2, devices=4)
    assert "4 junctions; 2 a cycle" in texts(block_diagram(geometry))
    assert structure(geometry).bits("source.junctions", "registers.junctions") == 32


# The block diagram


@pytest.mark.parametrize(
    "geometry", [GEOMETRY, Geometry(64, 8), Geometry(16, 1, bits=2)], ids=lambda g: g.name
)
def test_the_diagram_says_what_the_geometry_is(geometry: Geometry) -> None:
    said = texts(block_diagram(geometry))
    lanes, banks = geometry.lanes, geometry.banks
    assert f"{lanes} x {geometry.accumulator_bits} bits" in said and f"{banks} keys of 64 bits" in said
    assert f"synapse array, {banks} banks, {lanes} lanes: {lanes * banks:,} coins a cycle" in said
    assert f"of {lanes * (geometry.bits + 1)} bits: q, sign" in said


def test_the_diagram_has_every_block_and_every_connection(found: Structure) -> None:
    check(found, wires(found))
    with pytest.raises(SynflipError, match=r"votes\.wings to array\.wings is in one only"):
        check(
            replace(found, links=(*found.links, Link(("votes", "wings"), ("array", "wings"), 1))),
            wires(found),
        )
    with pytest.raises(SynflipError, match=r"keys\.reads to array\.keys is in one only"):
        check(found, tuple(one for one in wires(found) if one.source not in ("keys.reads", "array.keys")))
    gone = tuple(link for link in found.links if link.source != ("votes", "decisions"))
    with pytest.raises(SynflipError, match=r"votes\.decisions to sequencer\.decisions is in one only"):
        check(replace(found, links=gone), wires(found))
    with pytest.raises(SynflipError, match="wings is in one only"):
        check(replace(found, blocks={**found.blocks, "wings": ()}), wires(found))


def test_the_committed_diagram_is_todays_gateware() -> None:
    page = (ROOT / "docs/explanation/architecture.svg").read_text()
    assert page == block_diagram(Geometry()), "synflip diagram blocks --out docs/explanation/architecture.svg"


# The commands


def test_commands_write_pictures(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["diagram", "blocks", "--geometry", "16x2", "--bits", "3", "--out", "b.svg"]) == 0
    assert (files / "b.svg").read_text() == block_diagram(Geometry(16, 2, bits=3))
    asked = ["diagram", "pass", "m.safetensors", "--images", "x.npy", "--geometry", "16x2", "--image", "2"]
    assert app.main([*asked, "--sample", "1", "--seed", "5", "--out", "p.svg"]) == 0
    trace = cycle_trace(random_model(), GEOMETRY, np.load("x.npy")[:3], 2, 5)
    assert (files / "p.svg").read_text() == pass_diagram(trace, 2, 1)
    assert "wrote  p.svg" in capsys.readouterr().out
    assert "there is no image 9: x.npy has 7" in fails(capsys, *asked[:-1], "9", "--out", "q.svg")
    assert "read too" in fails(capsys, *asked, "--out", "x.npy")


def test_a_picture_of_waves_needs_a_waveform(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "w.fst").write_text("hello")
    asked = ("diagram", "waves", "w.fst", "--out", "w.svg")
    assert "w.fst is no waveform" in fails(capsys, *asked)
    assert "cannot read none.fst" in fails(capsys, "diagram", "waves", "none.fst", "--out", "w.svg")
    assert "a picture shows 1 to 400 cycles, not 401" in fails(capsys, *asked, "--window", "0:401")
    assert "--window '7' is not FIRST:PAST" in fails(capsys, *asked, "--window", "7")
    assert "written" not in fails(capsys, *asked) and not (files / "w.svg").exists()


def test_pictures_are_the_same_every_time_and_need_nothing_else() -> None:
    for picture in (block_diagram(GEOMETRY), (ROOT / "docs/explanation/pass.svg").read_text()):
        assert not re.search(r"<script|<image|url\(http|href", picture)
        assert ElementTree.fromstring(picture).find(f"{SVG}title") is not None
    assert block_diagram(GEOMETRY) == block_diagram(GEOMETRY)
