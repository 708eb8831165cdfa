"""Deliberate defects of the gateware: each must be found by the bench that is there for it, not by chance."""

from collections import Counter
from dataclasses import replace

import pytest
from synflip.errors import SynflipError
from synflip_sim.campaigns.mutant_list import MUTANTS
from synflip_sim.campaigns.mutants import outcomes, patch
from synflip_sim.testbenches.runner import BENCHES
from synflip_sim.testbenches.runs import RUNS

pytestmark = pytest.mark.simulator


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mutants")
    prepared = {name: folder / name for name in {mutant.run for mutant in MUTANTS}}
    for name, place in prepared.items():
        place.mkdir()
        RUNS[name].prepare(place)
    return prepared


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
def test_mutant_is_found(mutant, runs):
    """By the scoreboard: a mutant that does not build, or a bench that breaks off, raises SynflipError."""
    assert mutant.bench in outcomes(mutant, [mutant.bench], runs[mutant.run])


def test_every_block_has_mutants():
    assert len(MUTANTS) == len({mutant.name for mutant in MUTANTS}) >= 28
    assert {mutant.bench for mutant in MUTANTS} == set(BENCHES)


def test_stale_patches_are_errors(tmp_path):
    with pytest.raises(SynflipError, match=r"occurs 0 times in engine/lane\.py, not once"):
        patch(replace(MUTANTS[0], file="engine/lane.py"), tmp_path)
    with pytest.raises(SynflipError, match=r"occurs \d+ times in sources/lfsr\.py, not once"):
        patch(replace(MUTANTS[0], old="self"), tmp_path)


def test_no_defect_no_difference(runs):
    """A patch that changes nothing survives, so what finds the others is the defect."""
    harmless = replace(MUTANTS[0], old="2 * self.banks", new="self.banks * 2", name="harmless")
    assert outcomes(harmless, ["source"], runs[harmless.run]) == {}


def test_broken_sources_are_not_taken_for_found(runs):
    broken = replace(MUTANTS[0], new=f"{MUTANTS[0].old} nonsense", name="broken")
    with pytest.raises(SynflipError, match=r"(?s)mutant broken: .*SyntaxError"):
        outcomes(broken, ["source"], runs[broken.run])
