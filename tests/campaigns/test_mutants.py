"""Deliberate defects of the gateware: each must be found by the bench that is there for it, not by chance."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from amaranth.hdl import Fragment
from synflip.errors import SynflipError
from synflip_sim.campaigns.mutant_list import MUTANTS
from synflip_sim.campaigns.mutants import HDL, main, outcomes, patch, rows_of, table
from synflip_sim.testbenches.runner import BENCHES, benches_of, component
from synflip_sim.testbenches.runs import RUNS

pytestmark = pytest.mark.simulator


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Prepares a run by name where a test first asks for it; gives its folder."""

    @cache
    def prepare(name: str) -> Path:
        place = tmp_path_factory.mktemp(name)
        RUNS[name].prepare(place)
        return place

    return prepare


def marked() -> list:
    """Every mutant; of each bench the first is there on every run, the others by night."""
    of_bench: Counter[str] = Counter()
    cases = []
    for mutant in MUTANTS:
        of_bench[mutant.bench] += 1
        marks = [pytest.mark.nightly] if of_bench[mutant.bench] > 1 else []
        cases.append(pytest.param(mutant, id=mutant.name, marks=marks))
    return cases


@pytest.mark.parametrize("mutant", marked())
def test_mutant_is_found(mutant, prepared):
    """By the scoreboard: a mutant that does not build, or a bench that breaks off, raises SynflipError."""
    assert mutant.bench in outcomes(mutant, [mutant.bench], prepared(mutant.run))


def test_every_mutant_has_its_place_in_the_gateware():
    """By day too: most mutants run by night only."""
    texts = {mutant.file: (HDL / mutant.file).read_text("utf-8") for mutant in MUTANTS}
    assert [mutant.name for mutant in MUTANTS if texts[mutant.file].count(mutant.old) != 1] == []


def test_every_block_has_mutants():
    assert len(MUTANTS) == len({mutant.name for mutant in MUTANTS}) >= 28
    assert {mutant.bench for mutant in MUTANTS} == set(BENCHES)


def test_a_run_has_the_blocks_of_its_benches():
    """The campaign elaborates every bench that it is given, of every run."""
    for name in {mutant.run for mutant in MUTANTS}:
        for bench in benches_of(RUNS[name].geometry):
            Fragment.get(component(bench, RUNS[name].geometry), None)
    assert all(mutant.bench in benches_of(RUNS[mutant.run].geometry) for mutant in MUTANTS)


def test_rows_of_before_stay():
    names = [mutant.name for mutant in MUTANTS]
    found = {name: {"accelerator": f"votes of {name}: expected 1, got 2"} for name in names}
    whole = table(found)
    rows = rows_of(whole)
    assert list(rows) == names and rows[names[3]].endswith(f"| accelerator | votes of {names[3]} |")
    rows[names[0]] = rows[names[0]].replace("accelerator", "source")
    again = rows_of(table({name: found[name] for name in names[1:]}, rows))
    assert again == rows
    assert rows_of(table({**found, names[0]: {}}))[names[0]].endswith("| **nobody** |  |")


def test_the_page_has_all():
    page = Path(__file__).parents[2] / "docs/results/mutants.md"
    rows = rows_of(page.read_text("utf-8"))
    assert list(rows) == [mutant.name for mutant in MUTANTS]
    assert all(f"| {mutant.breaks} | {mutant.bench}" in rows[mutant.name] for mutant in MUTANTS)


def test_a_page_that_is_missing(tmp_path):
    """As a command: one line. `--new` goes on from a page; a path that cannot be written is said at once."""
    with pytest.raises(SynflipError, match=r"cannot read .*none\.md: No such file"):
        main(["--table", str(tmp_path / "none.md"), "--new"])
    command = [
        sys.executable,
        "-m",
        "synflip_sim.campaigns.mutants",
        "--table",
        f"{tmp_path}/none.md",
        "--new",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("error: cannot read ")


def test_a_run_that_was_stopped_goes_on(tmp_path, monkeypatch):
    """Each row is written when it is there, and ``--new`` runs those that lack one."""
    few = [mutant for mutant in MUTANTS if mutant.bench == "source"][:3]
    ran = []

    def outcome(mutant, benches, folder, known):
        ran.append(mutant.name)
        if ran == [mutant.name for mutant in few]:
            raise SynflipError("stopped")
        return {"source": "transfer in cycle 1: expected 1, got 2"}

    monkeypatch.setattr("synflip_sim.campaigns.mutants.MUTANTS", few)
    monkeypatch.setattr("synflip_sim.campaigns.mutants.outcomes", outcome)
    page = tmp_path / "mutants.md"
    command = ["--table", str(page), "--workers", "1", "--bench", "source"]
    with pytest.raises(SynflipError, match="stopped"):
        main(command)
    assert list(rows_of(page.read_text("utf-8"))) == [mutant.name for mutant in few[:2]]
    with pytest.raises(SystemExit, match="0"):
        main([*command, "--new"])
    assert ran == [mutant.name for mutant in (*few, few[2])]
    assert list(rows_of(page.read_text("utf-8"))) == [mutant.name for mutant in few]


def test_stale_patches_are_errors(tmp_path):
    with pytest.raises(SynflipError, match=r"occurs 0 times in engine/lane\.py, not once"):
        patch(replace(MUTANTS[0], file="engine/lane.py"), tmp_path)
    with pytest.raises(SynflipError, match=r"occurs \d+ times in sources/lfsr\.py, not once"):
        patch(replace(MUTANTS[0], old="self"), tmp_path)


def test_no_defect_no_difference(prepared):
    """A patch that changes nothing survives, so what finds the others is the defect."""
    harmless = replace(MUTANTS[0], old="2 * self.banks", new="self.banks * 2", name="harmless")
    assert outcomes(harmless, ["source"], prepared(harmless.run)) == {}


def test_broken_sources_are_not_taken_for_found(prepared):
    broken = replace(MUTANTS[0], new=f"{MUTANTS[0].old} nonsense", name="broken")
    with pytest.raises(SynflipError, match=r"(?s)mutant broken: .*SyntaxError"):
        outcomes(broken, ["source"], prepared(broken.run))
