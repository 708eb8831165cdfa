"""A part of the proofs, and that each of them notices a broken design. ``make proof`` runs all."""

import inspect
import sys
from pathlib import Path

import pytest
from formal import PROOFS
from formal.runner import run
from formal.table import TABLE, table
from synflip_hdl import array, coins, drain, entries, events, keys, lanes, lfsr, registers, sequencer, votes

BY_NAME = {proof.name: proof for proof in PROOFS}
FAST = [proof for proof in PROOFS if proof.fast]

# (proof, module, what is written there, what breaks it)
BROKEN = [
    ("coins.below", coins, "carry = q[-1]", "carry = q[-1] | 1"),  # <= instead of <
    ("lfsr Q=1", lfsr, "lfsr.power(index, 2 * self.banks)", "lfsr.power(index, self.banks)"),
    ("lanes.sum Q=4 A=8", lanes, "kept.eq(spare)", "kept.eq(0)"),  # a dropped carry
    ("entries 80 bits", entries, "word == self.words - 1", "word == self.words - 2"),
    ("array.timing Q=1", array, "delayed(place.turn, 3,", "delayed(place.turn, 2,"),
    ("drain.hidden A=8", drain, "Mux(above | (low > largest), largest, low)", "low"),
    ("drain.tiles Q=8", drain, "depth=tiles_under_way(self.geometry)", "depth=4"),
    ("events.images Q=2", events, "self.load.ready.eq(~busy | done)", "self.load.ready.eq(1)"),
    (
        "events.hidden Q=2",
        events,
        "[self.append_valid & value.any() for",
        "[self.append_valid & value[0] for",
    ),
    ("keys depth=4 Q=1 halves=2", keys, "(ahead < self.halves)", "(ahead <= self.halves)"),
    ("keys depth=4 Q=1 halves=2", keys, "oldest.eq(oldest + 1)", "oldest.eq(oldest + 2)"),
    ("registers 16x1", registers, "with m.If(self.response.ready):", "with m.If(1):"),
    ("registers 16x1", registers, "request.write & here & ~self.busy", "request.write & here"),
    ("sequencer P=16 Q=8 1 slots", sequencer, "banks + VOTE_GAP - 1", "banks + VOTE_GAP - 2"),
    ("sequencer P=16 Q=8 1 slots", sequencer, "steps + DRAIN_LATENCY)", "steps + DRAIN_LATENCY - 1)"),
    ("drain.sums P=16 Q=4", drain, "tile.bias + advance", "tile.bias"),
    ("votes.counts", votes, "Mux(first, 0, votes_read.data)", "votes_read.data"),
    ("votes.argmax", votes, "(logit.z > best)", "(logit.z >= best)"),
]


@pytest.mark.parametrize("proof", FAST, ids=lambda proof: proof.name)
def test_holds(proof, tmp_path):
    verdict = run(proof, tmp_path)
    assert verdict.proved, verdict.reason


@pytest.mark.parametrize(
    "name, module, old, new", BROKEN, ids=lambda item: item if isinstance(item, str) else ""
)
def test_a_broken_design_is_noticed(name, module, old, new, tmp_path, monkeypatch):
    replace(monkeypatch, module, old, new)
    verdict = run(BY_NAME[name], tmp_path)
    assert not verdict.proved
    assert "Assert failed" in verdict.reason
    assert list(tmp_path.glob("*.vcd"))


def replace(monkeypatch, module, old, new):
    """``module`` as if ``new`` were written there for ``old``, wherever its names were imported to."""
    source = inspect.getsource(module)
    assert source.count(old) == 1
    broken = {"__name__": module.__name__}
    exec(compile(source.replace(old, new), module.__file__, "exec"), broken)
    for holder in [item for name, item in sys.modules.items() if name.startswith(("formal", "synflip_hdl"))]:
        for name, value in list(vars(holder).items()):
            if not name.startswith("__") and getattr(value, "__module__", None) == module.__name__:
                monkeypatch.setattr(holder, name, broken[name])


def test_names_are_different():
    assert len(BY_NAME) == len(PROOFS)


def test_the_table_in_the_docs_is_this_one():
    assert (Path(__file__).parents[1] / TABLE).read_text() == table(PROOFS), "run make proof"
