"""A part of the proofs, and that each of them notices a broken design. ``make proof`` runs all."""

import inspect
import sys
from pathlib import Path

import pytest
from synflip_hdl.bus import registers
from synflip_hdl.engine import (
    coin_comparators,
    event_lists,
    key_memory,
    lane,
    pool,
    requantizer,
    segments,
    sequencer,
    soft_votes,
    synapse_array,
    votes,
)
from synflip_hdl.lib import entry_writer, register_slice
from synflip_hdl.serial import frame_queue, image_words
from synflip_hdl.sources import lfsr

from tests.formal import PROOFS
from tests.formal.runner import run
from tests.formal.table import TABLE, table

pytestmark = pytest.mark.tools

BY_NAME = {proof.name: proof for proof in PROOFS}
FAST = [proof for proof in PROOFS if proof.fast]

# (proof, module, what is written there, what breaks it)
BROKEN = [
    ("coin_comparators.below", coin_comparators, "carry = q[-1]", "carry = q[-1] | 1"),  # <= instead of <
    ("coin_comparators.bank P=16 k=4", coin_comparators, "late_turn.eq(self.turn)", "late_turn.eq(0)"),
    ("lfsr Q=1", lfsr, "lfsr.power(index, 2 * self.banks)", "lfsr.power(index, self.banks)"),
    ("lane.sum Q=4 A=8", lane, "kept.eq(spare)", "kept.eq(0)"),  # a dropped carry
    ("entry_writer 80 bits", entry_writer, "word == self.words - 1", "word == self.words - 2"),
    ("synapse_array.timing Q=1", synapse_array, "delayed(m, place.turn, 3,", "delayed(m, place.turn, 2,"),
    (
        "synapse_array.resets Q=2",
        synapse_array,
        "range(depth + 1), init=depth)",
        "range(depth + 1), init=depth - 2)",
    ),
    ("synapse_array.resets Q=1", synapse_array, "clear.eq(nearly | (flush != 0))", "clear.eq(flush != 0)"),
    ("requantizer.hidden A=8", requantizer, "Mux(above | (low > largest), largest, low)", "low"),
    (
        "requantizer.hidden A=4",
        requantizer,
        "reach = bits + (1 << stage) - 1",
        "reach = bits + (1 << stage) - 2",
    ),
    ("requantizer.tiles Q=8", requantizer, "depth=tiles_under_way(self.geometry)", "depth=4"),
    ("event_lists.images Q=2", event_lists, "self.load.ready.eq(~busy | done)", "self.load.ready.eq(1)"),
    (
        "event_lists.hidden Q=2",
        event_lists,
        "starts[bank].eq(length)",
        "starts[bank].eq(length + 1)",
    ),
    (
        "event_lists.hidden Q=2",
        event_lists,
        "was_behind & (after.lengths[bank] != before.longest)",
        "was_behind",
    ),
    ("event_lists.images Q=2", event_lists, "was_behind | ~grows,", "was_behind,"),
    ("event_lists.hidden Q=2", event_lists, "reads.short.eq(longest <= 1)", "reads.short.eq(longest == 1)"),
    ("key_memory depth=4 Q=1 halves=2", key_memory, "(ahead < geometry.key_halves)", "(ahead < 3)"),
    ("key_memory depth=4 Q=1 halves=2", key_memory, "oldest.eq(oldest + 1)", "oldest.eq(oldest + 2)"),
    ("key_memory depth=4 Q=1 halves=1", key_memory, "(ahead < geometry.key_halves)", "(ahead < 2)"),
    (
        "key_memory depth=4 Q=1 halves=1",
        key_memory,
        "delay = Signal(KEY_RELEASE - 1)",
        "delay = Signal(KEY_RELEASE - 4)",
    ),
    ("key_memory depth=4 Q=1 halves=2", key_memory, "block + 2 == blocks", "block + 1 == blocks"),
    ("key_memory depth=4 Q=1 halves=2", key_memory, "filling + 2 == samples", "filling + 1 == samples"),
    ("key_memory depth=4 Q=1 halves=2", key_memory, "last.eq(blocks == 1)", "last.eq(0)"),
    (
        "register_slice",
        register_slice,
        "self.input.ready.eq(~self.output.valid | self.output.ready)",
        "self.input.ready.eq(1)",
    ),
    ("skid_buffer", register_slice, "self.input.ready.eq(~full)", "self.input.ready.eq(1)"),
    (
        "skid_buffer",
        register_slice,
        "full.eq(self.output.valid & ~self.output.ready)",
        "full.eq(~self.output.ready)",
    ),
    (
        "register_slice",
        register_slice,
        "with m.If(self.input.ready):",
        "with m.If(self.input.valid & self.input.ready):",
    ),
    ("registers 16x1, compact", registers, "with m.If(self.response.ready):", "with m.If(1):"),
    (
        "registers 16x1, compact",
        registers,
        "request.write & here & ~self.status.busy",
        "request.write & here",
    ),
    ("registers 16x1, compact", registers, "                & ~self.control.start\n", ""),
    ("registers 16x1, compact", registers, "                & ~answering\n", ""),
    ("registers 16x1, compact", registers, "                & ~settling.any()\n", ""),
    ("registers 16x1, compact", registers, "Cat(reading & ~of_register, settling[0] & keys)", "0"),
    ("registers 16x1, compact", registers, "settling[0] & keys)", "settling[0])"),
    ("registers 16x1, compact", registers, "settling[0] & ~keys", "settling[0]"),
    ("registers 16x1, compact", registers, "            & (~controlling | ~changed)\n", ""),
    ("registers 16x1, compact", registers, "now = taken & ~changed", "now = taken"),
    ("sequencer P=16 Q=8 N=2", sequencer, "vote_hold.eq(left + VOTE_WRITTEN)", "vote_hold.eq(left)"),
    ("sequencer P=16 Q=8 N=2", sequencer, "Mux(left < PASS_SPACING - 1, PASS_SPACING - 1, left)", "left"),
    (
        "sequencer P=16 Q=8 N=2",
        sequencer,
        "now.last_steps[: len(steps)])",
        "now.last_steps[: len(steps)] - 1)",
    ),
    ("sequencer P=16 Q=8 N=2", sequencer, "head_turn, window):", "head_turn):"),
    ("sequencer P=16 Q=8 N=2", sequencer, "now.from_rest & ~last_tile", "~last_tile"),
    (
        "sequencer P=16 Q=8 N=2",
        sequencer,
        "lists.open.eq(1), self.keys.release",
        "lists.open.eq(~wait.turned), self.keys.release",
    ),
    ("event_lists.hidden Q=2", event_lists, "Mux(reads.rest, starts[bank], 0)", "0"),
    ("sequencer P=16 Q=8 N=2", sequencer, "lists.index + 2 >= lists", "lists.index + 3 >= lists"),
    ("sequencer P=16 Q=8 N=2", sequencer, "Mux(opened, lists.short, ending)", "ending"),
    ("sequencer P=16 Q=8 N=1", sequencer, "again.eq(next_.begun &", "again.eq(self.lists.open &"),
    ("sequencer P=16 Q=8 N=4 F=4", sequencer, "queue.available & ~queue.turns", "queue.available"),
    ("sequencer P=16 Q=8 N=4 F=4", sequencer, "arrived.bit_select(next_.member, 1)", "arrived[0]"),
    ("sequencer P=16 Q=8 N=4 F=4", sequencer, "Cat(next_.layer[0], next_.member)", "next_.layer[0]"),
    ("sequencer P=16 Q=8 N=4 F=4", sequencer, "self.lists.slot.eq(slots[0]),", ""),
    ("requantizer.sums P=16 Q=4", requantizer, "Mux(again, beyond, upcoming)", "upcoming"),
    ("requantizer.tiles Q=2", requantizer, "across(m, next_.bias,", "across(m, next_.bias + 1,"),
    ("votes.argmax", votes, "opens.eq(logit.last)", "opens.eq(0)"),
    ("requantizer.sums P=16 Q=4", requantizer, "advance.eq(~arriving.final", "advance.eq(arriving.final"),
    ("requantizer.sums P=16 Q=4", requantizer, " & ~(advance & (tile.steps == 0))", ""),
    (
        "requantizer.sums P=16 Q=4",
        requantizer,
        "next_.bias + (~next_.final | (self.geometry.banks == 1))",
        "next_.bias + 0",
    ),
    ("votes.counts", votes, "Mux(first, 0, votes_read.data)", "votes_read.data"),
    ("votes.argmax", votes, "ranked_winner.eq(counted_winner)", "ranked_winner.eq(winner)"),
    ("votes.argmax", votes, "~(other.as_unsigned() ^ flip))[", "~(other.as_unsigned() ^ flip) + 1)["),
    ("soft_votes classes=1", soft_votes, "low | more.replicate(bits)", "low"),
    ("soft_votes classes=1", soft_votes, "Mux(opens, 0, total) +", "total +"),
    ("soft_votes classes=1", soft_votes, "with m.If(last[0]):", "with m.If(last[3]):"),
    ("registers 32x1", registers, "(~controlling | access.settled)", "1"),
    ("frame_queue", frame_queue, "used + self.length + SLACK < self.depth", "used < self.depth"),
    (
        "frame_queue",
        frame_queue,
        "write.addr.eq(begin + self.length + 1)",
        "write.addr.eq(begin - self.length)",
    ),
    ("frame_queue", frame_queue, "used + coming - going", "used + coming"),
    ("image_words pairs", image_words, "place.eq(place + 1),", "place.eq(place),"),
    ("image_words pairs", image_words, "Mux(ending, State.IDLE, Mux(", "Mux(last, State.IDLE, Mux("),
    ("pool P=16 Q=2", pool, "~append.pooled.first & (old > new)", "(old > new)"),
    (
        "event_lists.maps Q=1 F=1",
        event_lists,
        "Cat(pixels, append.hidden_set[0])",
        "Cat(pixels, Const(0, 1))",
    ),
    ("sequencer.maps P=16 Q=8 F=2", sequencer, "& (layer_ends | segments.ready)", ""),
    ("sequencer.maps P=16 Q=8 F=2", sequencer, "segments.step.eq(~event.last)", "segments.step.eq(1)"),
    ("segments Q=2", segments, "with m.If(window_end & demand.again):", "with m.If(demand.again):"),
    ("image_words packed, 4 bits", image_words, "(gathered != 0) | (word == 0)", "gathered != 0"),
]
#: The same, by night.
BROKEN_BY_NIGHT = [
    ("pool P=16 Q=2", pool, "Mux(append.pooled.first, 0, read.data.some)", "read.data.some"),
    ("pool P=16 Q=2", pool, "Mux(append.first, 0, after)", "after"),
    ("pool P=16 Q=2", pool, "valid & append.pooled.last)", "valid)"),
    ("event_lists.maps Q=1 F=1", event_lists, "Mux(places.none, 0, before.data", "Mux(0, 0, before.data"),
    ("event_lists.maps Q=1 F=1", event_lists, "append.first & append.pooled.top", "append.first"),
    ("event_lists.whole Q=2", event_lists, "appended |= whole & busy", "appended |= 0"),
    ("event_lists.whole Q=2", event_lists, "Cat(step, word.word), address)", "word.word, address)"),
    ("event_lists.whole Q=2", event_lists, "Mux(whole, self.places.image[bank], reads.index)", "reads.index"),
    (
        "event_lists.whole Q=2",
        event_lists,
        '["MAPS"] & ~was_hidden, segment.block',
        '["MAPS"] & 0, segment.block',
    ),
    ("event_lists.whole Q=2", event_lists, "segment.first[bank], reads.rows)", "segment.first[bank], 1)"),
    ("event_lists.maps Q=1 F=1", event_lists, "start[bank].eq(segment.first[bank])", "start[bank].eq(0)"),
    (
        "event_lists.maps Q=1 F=1",
        event_lists,
        "reads.index + 2 >= lengths[bank]",
        "reads.index + 2 > lengths[bank]",
    ),
    (
        "sequencer.maps P=16 Q=8 F=2",
        sequencer,
        "(layer_ends | segments.ready)",
        "(layer_ends & segments.ready)",
    ),
    ("sequencer.maps P=16 Q=8 F=2", sequencer, "(~current.position_end | wait.drained) &", ""),
    ("sequencer.maps P=16 Q=8 F=2", sequencer, "now.tile_weight + now.row_blocks)", "now.tile_weight)"),
    (
        "sequencer.maps P=16 Q=8 F=2",
        sequencer,
        "pooled.first.eq(current.window_end)",
        "pooled.first.eq(~current.window_end)",
    ),
    ("sequencer.maps P=16 Q=8 F=2", sequencer, "pooled.top.eq(last_tile)", "pooled.top.eq(1)"),
    (
        "sequencer.maps P=16 Q=8 F=2",
        sequencer,
        "wait.turns[0].eq(self._arrival + now.last_steps)",
        "wait.turns[0].eq(1)",
    ),
    ("sequencer.maps P=16 Q=8 F=2", sequencer, 'self._early | self.control.settings["MAPS"]', "self._early"),
    ("segments Q=2", segments, "with m.If(window_end | restarted):", "with m.If(restarted):"),
    ("segments Q=2", segments, "segment.eq(window_entry)", "segment.eq(entry.data)"),
    ("segments Q=2", segments, "Mux(demand.restart, demand.entry, number + 1)", "number + 1"),
    ("segments Q=2", segments, "ready.eq(age == SEGMENT_SPACING)", "ready.eq(age >= SEGMENT_SPACING - 1)"),
    ("segments Q=2", segments, "with m.If(age == 1):", "with m.If(age == 2):"),
    ("segments Q=2", segments, "places.past.eq(segment.past)", "places.past.eq(segment.first)"),
    ("segments Q=2", segments, "demand.index + demand.step + 1", "demand.index + 1"),
    ("segments Q=2", segments, "Mux(demand.take, 1,", "Mux(demand.take, 0,"),
    ("segments Q=2", segments, "with m.If(write.en & (write.addr == 0)):", "with m.If(write.en):"),
    ("event_lists.maps Q=1 F=1", event_lists, "past.eq(up_to.data)", "past.eq(before.data)"),
    ("segments Q=2", segments, "position + tap[bank]", "tap[bank]"),
]


@pytest.mark.parametrize("proof", FAST, ids=lambda proof: proof.name)
def test_holds(proof, tmp_path):
    verdict = run(proof, tmp_path)
    assert verdict.proved, verdict.reason


@pytest.mark.parametrize(
    "name, module, old, new",
    [*BROKEN, *(pytest.param(*case, marks=pytest.mark.nightly) for case in BROKEN_BY_NIGHT)],
    ids=lambda item: item if isinstance(item, str) else "",
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
    ours = ("tests.formal", "synflip_hdl")
    for holder in [item for name, item in sys.modules.items() if name.startswith(ours)]:
        for name, value in list(vars(holder).items()):
            if not name.startswith("__") and getattr(value, "__module__", None) == module.__name__:
                monkeypatch.setattr(holder, name, broken[name])


def test_every_broken_design_has_its_place_and_its_proof():
    """By day too: many are proved by night only."""
    for name, module, old, _ in [*BROKEN, *BROKEN_BY_NIGHT]:
        assert name in BY_NAME
        assert inspect.getsource(module).count(old) == 1, old


def test_names_are_different():
    assert len(BY_NAME) == len(PROOFS)


def test_the_table_in_the_docs_is_this_one():
    assert (Path(__file__).parents[2] / TABLE).read_text() == table(PROOFS), "run make proof"
