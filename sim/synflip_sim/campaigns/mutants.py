"""Deliberate defects of the gateware, each with the bench that must find it.

A command, too: ``python -m synflip_sim.campaigns.mutants --table FILE`` runs every mutant against every
bench and writes who found it.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import synflip_hdl
from synflip.errors import SynflipError

from synflip_sim.testbenches.runner import BENCHES, build
from synflip_sim.testbenches.runs import CASES

CASE = "16x2-k4"  # has several of everything: tiles, banks, layers, images, samples, and early stopping
PLAIN = "48x4-k3"  # no early stopping, and keys of one sample at a time
HDL = Path(synflip_hdl.__file__).parent


@dataclass(frozen=True)
class Mutant:
    """In ``file`` of synflip_hdl, ``old`` becomes ``new``. bench: must find it. breaks: in words. case: over
    which."""

    name: str
    bench: str
    file: str
    old: str
    new: str
    breaks: str
    case: str = CASE


MUTANTS = [
    # The source.
    Mutant(
        "source-power",
        "source",
        "sources/lfsr.py",
        "lfsr.power(index, 2 * self.banks)",
        "lfsr.power(index, 2 * self.banks + 1)",
        "the state steps one output too far",
    ),
    Mutant(
        "source-halves",
        "source",
        "sources/lfsr.py",
        "Cat(low[0] ^ low[1] ^ low[2] ^ low[3], high[0] ^ high[1] ^ high[2] ^ high[3])",
        "Cat(high[0] ^ high[1] ^ high[2] ^ high[3], low[0] ^ low[1] ^ low[2] ^ low[3])",
        "high and low half of a key are swapped",
    ),
    Mutant(
        "source-component",
        "source",
        "sources/lfsr.py",
        "low[0] ^ low[1] ^ low[2] ^ low[3]",
        "low[0] ^ low[1] ^ low[2]",
        "the output lacks a component",
    ),
    Mutant(
        "source-unasked",
        "source",
        "sources/lfsr.py",
        "with m.If(self.keys.ready):",
        "with m.If(1):",
        "a key that nobody took is gone",
    ),
    # The key memory.
    Mutant(
        "keys-reused",
        "key_memory",
        "engine/key_memory.py",
        "with m.If(last):",
        "with m.If(last & (filling != 1)):",
        "the fill does not advance: a sample's keys are written again",
    ),
    Mutant(
        "keys-half",
        "key_memory",
        "engine/key_memory.py",
        "write_address.eq(Cat(block[: self.block_bits], filling[0]))",
        "write_address.eq(Cat(block[: self.block_bits], filling[1]))",
        "the half is not switched",
    ),
    Mutant(
        "keys-released-early",
        "key_memory",
        "engine/key_memory.py",
        "delay = Signal(KEY_RELEASE - 1)",
        "delay = Signal(KEY_RELEASE - 2)",
        "keys are overwritten a cycle too early",
    ),
    Mutant(
        "keys-ahead",
        "key_memory",
        "engine/key_memory.py",
        "(ahead < self.halves)",
        "(ahead <= self.halves)",
        "the fill overtakes the reader",
    ),
    Mutant(
        "keys-ready-early",
        "key_memory",
        "engine/key_memory.py",
        "block >= self.end",
        "block + 1 >= self.end",
        "a layer's last keys are said to be there a cycle too early",
    ),
    Mutant(
        "keys-one-half",
        "key_memory",
        "engine/key_memory.py",
        "(ahead < self.halves)",
        "(ahead < 2)",
        "the one half is filled anew while it is read",
        PLAIN,
    ),
    Mutant(
        "keys-one-half-last",
        "key_memory",
        "engine/key_memory.py",
        "Mux(filling[:2] == self.sample, block >= self.end[: len(block)], 1)",
        "Mux(filling[:1] == self.sample[:1], block >= self.end[: len(block)], 1) & (filling != 1)",
        "a sample that is there is not found to be there",
        PLAIN,
    ),
    # The event lists.
    Mutant(
        "events-image-zeros",
        "event_lists",
        "engine/event_lists.py",
        "busy & here & not_zero.bit_select(place, 1)",
        "busy & here",
        "zeros of images are not dropped",
    ),
    Mutant(
        "events-hidden-zeros",
        "event_lists",
        "engine/event_lists.py",
        "[self.append_valid & some for some in",
        "[self.append_valid for some in",
        "zeros of hidden layers are not dropped",
    ),
    Mutant(
        "events-length",
        "event_lists",
        "engine/event_lists.py",
        "(self.index < lengths[bank])",
        "(self.index <= lengths[bank])",
        "a list is one event too long",
    ),
    Mutant(
        "events-unmasked",
        "event_lists",
        "engine/event_lists.py",
        "Mux(is_event, event.value, 0)",
        "event.value",
        "a bank that has finished still issues",
    ),
    Mutant(
        "events-set",
        "event_lists",
        "engine/event_lists.py",
        "from_set.eq(self.hidden_set)",
        "from_set.eq(0)",
        "the hidden sets do not take turns",
    ),
    Mutant(
        "events-not-emptied",
        "event_lists",
        "engine/event_lists.py",
        "Mux(begin, 0, old.as_value())",
        "Mux(begin & 0, 0, old.as_value())",
        "lists are not emptied for the next layer or image",
    ),
    Mutant(
        "events-longest",
        "event_lists",
        "engine/event_lists.py",
        "higher.eq((Cat(appended) & ~start.behind).any()),",
        "higher.eq(Cat(appended).any()),",
        "the longest list grows with every list",
    ),
    Mutant(
        "events-rest-start",
        "event_lists",
        "engine/event_lists.py",
        "start[bank].eq(Mux(self.rest, starts[bank], 0))",
        "start[bank].eq(0)",
        "the rest of a list is read from the list's beginning",
    ),
    Mutant(
        "events-rest-tile",
        "event_lists",
        "engine/event_lists.py",
        "of_tile.after(m, added, self.append.first, appended)",
        "of_tile.after(m, added, self.append.begin, appended)",
        "the rest of a list is all tiles', not the last one's",
    ),
    Mutant(
        "events-slot",
        "event_lists",
        "engine/event_lists.py",
        "base.eq(self.slot << self.load_shift)",
        "base.eq(0)",
        "every image reads the first one's events",
    ),
    Mutant(
        "events-place",
        "event_lists",
        "engine/event_lists.py",
        "word_base.eq(coming.slot << self.load_shift)",
        "word_base.eq(word.slot << self.load_shift)",
        "an image's first word is written where the image before is",
    ),
    Mutant(
        "events-short",
        "event_lists",
        "engine/event_lists.py",
        "self.short.eq(longest <= 1)",
        "self.short.eq(longest == 1)",
        "an empty list is taken for one of several events",
    ),
    # The array.
    Mutant(
        "coin-tap-wrong",
        "synapse_array",
        "engine/coin_comparators.py",
        "taps = [word_taps(lane, bit)",
        "taps = [word_taps(lane, bit ^ (lane == 5))",
        "one output in sixteen uses another bit's taps",
    ),
    Mutant(
        "coin-tap-missing",
        "synapse_array",
        "engine/coin_comparators.py",
        " ^ around[c : c + run] for a, b, c in taps",
        " for a, b, c in taps",
        "a word is the XOR of two key bits",
    ),
    Mutant(
        "coin-carry",
        "synapse_array",
        "engine/coin_comparators.py",
        "carry = q[-1]\n",
        "carry = q[-1] & 0\n",
        "T(q) lacks its extra one",
    ),
    Mutant(
        "coin-or-equal",
        "synapse_array",
        "engine/coin_comparators.py",
        "carry = q[-1]\n",
        "carry = q[-1] | ~q[-1]\n",
        "u <= T instead of u < T",
    ),
    Mutant(
        "coin-rotation-early",
        "synapse_array",
        "engine/synapse_array.py",
        'delayed(place.turn, 3, "turn")',
        'delayed(place.turn, 2, "turn")',
        "a tile's last key is rotated for the next tile",
    ),
    Mutant(
        "array-row",
        "synapse_array",
        "engine/synapse_array.py",
        "weight_address.eq(place.weight + event.block)",
        "weight_address.eq(place.weight + event.block + 1)",
        "weights of the next row",
    ),
    Mutant(
        "array-key-row",
        "synapse_array",
        "engine/synapse_array.py",
        "key_address.eq(place.key + event.block)",
        "key_address.eq(place.key + event.block + 1)",
        "key of the next row",
    ),
    Mutant(
        "array-lane",
        "synapse_array",
        "engine/synapse_array.py",
        "lane.coins[bank].eq(coins.coins[position])",
        "lane.coins[bank].eq(coins.coins[position ^ 1])",
        "lanes take their neighbours' coins",
    ),
    Mutant(
        "array-sign",
        "synapse_array",
        "engine/synapse_array.py",
        "lane.signs[bank].eq(coins.signs[position])",
        "lane.signs[bank].eq(~coins.signs[position])",
        "signs are swapped",
    ),
    Mutant(
        "array-weights-bank",
        "synapse_array",
        "engine/synapse_array.py",
        "writer.commit & (writer.entry[entry_bits:] == bank)",
        "writer.commit",
        "an entry is written into every bank",
    ),
    Mutant(
        "array-capture-early",
        "synapse_array",
        "engine/synapse_array.py",
        'delayed(self.last, depth - 1, "last", reset_less=False)',
        'delayed(self.last, depth - 2, "last", reset_less=False)',
        "sums are captured before the last event is added",
    ),
    Mutant(
        "array-flush",
        "synapse_array",
        "engine/synapse_array.py",
        "clear.eq(nearly | (flush != 0))",
        "clear.eq(nearly)",
        "the first tile after a reset gets what was under way",
    ),
    Mutant(
        "entry-early",
        "synapse_array",
        "lib/entry_writer.py",
        "self.commit.eq(self.valid & (word == self.words - 1))",
        "self.commit.eq(self.valid & (word == self.words - 2))",
        "an entry is written before its last word came",
    ),
    Mutant(
        "lane-tree-carry",
        "synapse_array",
        "engine/lane.py",
        "add_with_carry(left, right, carry, width)",
        "add_with_carry(left, right, carry & 0, width)",
        "the tree drops a carry",
    ),
    Mutant(
        "lane-carry",
        "synapse_array",
        "engine/lane.py",
        "add_with_carry(accumulator, tree, carry, self.accumulator_bits)",
        "add_with_carry(accumulator, tree, carry & 0, self.accumulator_bits)",
        "the accumulator drops a carry",
    ),
    Mutant(
        "lane-kept",
        "synapse_array",
        "engine/lane.py",
        "accumulator.eq(0)",
        "accumulator.eq(self.total)",
        "a tile starts from the sums of the one before",
    ),
    Mutant(
        "array-clear",
        "synapse_array",
        "engine/synapse_array.py",
        "lane.last.eq(clears[index // LANES_A_CLEAR])",
        "lane.last.eq(clears[0] & (index < LANES_A_CLEAR))",
        "all lanes but the first 16 keep the sums of the tile before",
        PLAIN,
    ),
    # The requantizer.
    Mutant(
        "requantizer-late",
        "requantizer",
        "engine/requantizer.py",
        "self.append_valid.eq(out_valid & ~out_tile.final),",
        "(late := Signal()).eq(out_valid & ~out_tile.final), self.append_valid.eq(late),",
        "a hidden group is announced a cycle late",
    ),
    Mutant(
        "requantizer-order",
        "requantizer",
        "engine/requantizer.py",
        "waiting[bank] + bias[bank]",
        "waiting[banks - 1 - bank] + bias[bank]",
        "the outputs of a group leave in reverse order",
    ),
    Mutant(
        "requantizer-shift",
        "requantizer",
        "engine/requantizer.py",
        "Mux(shift[stage], value[1 << stage :], value)",
        "Mux(shift[stage] & (stage != 0), value[1 << stage :], value)",
        "the last stage of the shift does nothing",
    ),
    Mutant(
        "requantizer-chosen",
        "requantizer",
        "engine/requantizer.py",
        "z.as_value().bit_select(Cat(Const(0, 5), z_lane), LOGIT_BITS)",
        "z.as_value().bit_select(Cat(Const(0, 5), lane), LOGIT_BITS)",
        "a class gets its neighbour's logit",
    ),
    Mutant(
        "requantizer-above",
        "requantizer",
        "engine/requantizer.py",
        "above.append(value[reach:].any())",
        "above.append(value[reach:].any() & (stage == 0))",
        "ones above what a stage of the shift leaves are not seen",
    ),
    Mutant(
        "requantizer-negative",
        "requantizer",
        "engine/requantizer.py",
        "negative.eq(z[bank][-1]),",
        "negative.eq(0),",
        "values below zero are taken for large ones",
    ),
    Mutant(
        "requantizer-clamp",
        "requantizer",
        "engine/requantizer.py",
        "Mux(above | (low > largest), largest, low)",
        "Mux(low > largest, largest, low)",
        "large values are not clamped",
    ),
    Mutant(
        "requantizer-largest",
        "requantizer",
        "engine/requantizer.py",
        "Mux(above | (low > largest), largest, low)",
        "Mux(above | (low > largest - 1), largest - 1, low)",
        "values are clamped to one less than the largest",
    ),
    Mutant(
        "requantizer-bias",
        "requantizer",
        "engine/requantizer.py",
        "tile.bias + Cat(advance ^ again, advance & again)",
        "tile.bias + advance",
        "a group gets the biases of the one before",
    ),
    Mutant(
        "requantizer-classes",
        "requantizer",
        "engine/requantizer.py",
        "class_ <= self.classes",
        "class_ < self.classes",
        "the last class has no logit",
    ),
    # The votes.
    Mutant(
        "votes-tie",
        "votes",
        "engine/votes.py",
        "(logit.z > best)",
        "(logit.z >= best)",
        "ties go to the highest class",
    ),
    Mutant(
        "votes-sums-first",
        "votes",
        "engine/votes.py",
        "Mux(opening, 0, sums_read.data)",
        "sums_read.data",
        "sums start from what a run before left",
    ),
    Mutant(
        "votes-first",
        "votes",
        "engine/votes.py",
        "Mux(first, 0, votes_read.data)",
        "votes_read.data",
        "votes start from what a run before left",
    ),
    Mutant(
        "votes-cleared",
        "votes",
        "engine/votes.py",
        "votes_write.en.eq(ranking | (summed_valid & opening))",
        "votes_write.en.eq(ranking)",
        "classes without votes keep those of a run before",
    ),
    Mutant(
        "votes-margin",
        "votes",
        "engine/votes.py",
        "kept.lead - kept.second >= least",
        "kept.lead - kept.second > least",
        "an image stays at a lead of exactly its margin",
    ),
    Mutant(
        "votes-runner-up",
        "votes",
        "engine/votes.py",
        "m.d.comb += after.second.eq(counted)",
        "m.d.comb += after.second.eq(before.second)",
        "the runner-up's votes are not kept",
    ),
    Mutant(
        "votes-overtaken",
        "votes",
        "engine/votes.py",
        "after.second.eq(before.lead)]",
        "after.second.eq(counted)]",
        "who overtakes the leader is its own runner-up",
    ),
    Mutant(
        "votes-sum-place",
        "votes",
        "engine/votes.py",
        "sums_write.addr.eq(total_place)",
        "sums_write.addr.eq(summed_place)",
        "a sum is written where the next class's is",
    ),
    Mutant(
        "votes-sum-halves",
        "votes",
        "engine/votes.py",
        "Mux(half, sums_read.data[32:].as_signed(), sums_read.data[:32])",
        "Mux(half, sums_read.data[:32], sums_read.data[32:].as_signed())",
        "high and low half of a sum are swapped",
    ),
    # The sequencer.
    Mutant(
        "sequencer-hold",
        "sequencer",
        "engine/sequencer.py",
        "banks + VOTE_GAP - 1, steps))",
        "banks + VOTE_GAP - 2, steps))",
        "a tile of logits leaves the drain free too early",
    ),
    Mutant(
        "sequencer-turn",
        "sequencer",
        "engine/sequencer.py",
        "field[LayerField.LAST_STEPS][: len(steps)])",
        "field[LayerField.LAST_STEPS][: len(steps)] - 1)",
        "a layer opens before its last events are in the lists",
    ),
    Mutant(
        "sequencer-head-turn",
        "sequencer",
        "engine/sequencer.py",
        "head_turn.eq(arrival + tile_steps - 1)",
        "head_turn.eq(arrival + tile_steps - 2)",
        "the head of the lists opens before all of it is there",
    ),
    Mutant(
        "sequencer-whole",
        "sequencer",
        "engine/sequencer.py",
        "self.open.eq(from_rest & ~last_tile)",
        "self.open.eq(0)",
        "tiles after a head and its rest read only the rest",
    ),
    Mutant(
        "sequencer-gate",
        "sequencer",
        "engine/sequencer.py",
        "(window != 0) & (head_turn == 0))) & self.key_ready",
        "(window != 0) & (head_turn == 0)))",
        "a layer does not wait for its keys",
    ),
    Mutant(
        "sequencer-queue",
        "sequencer",
        "engine/sequencer.py",
        "begin(fresh[:SLOT_BITS], sample)",
        "begin((self.images - 1 - fresh)[:SLOT_BITS], sample)",
        "images queue in reverse order",
    ),
    Mutant(
        "sequencer-push",
        "sequencer",
        "engine/sequencer.py",
        "(layer == 0) & ~self.early & (sample + 1 != self.samples)",
        "~self.early & (sample + 1 != self.samples)",
        "an image enters the queue with each of its layers",
        PLAIN,
    ),
    Mutant(
        "sequencer-push-last",
        "sequencer",
        "engine/sequencer.py",
        "(layer == 0) & ~self.early & (sample + 1 != self.samples)",
        "(layer == 0) & ~self.early",
        "an image enters the queue in its last sample, too",
        PLAIN,
    ),
    Mutant(
        "sequencer-ending",
        "sequencer",
        "engine/sequencer.py",
        "self.index + 2 >= self.longest",
        "self.index + 3 >= self.longest",
        "a tile's last event is left out",
    ),
    Mutant(
        "sequencer-opened",
        "sequencer",
        "engine/sequencer.py",
        "Mux(opened, self.short, ending)",
        "ending",
        "whether a layer's first event is the last is taken from the layer before",
    ),
    Mutant(
        "sequencer-short",
        "sequencer",
        "engine/sequencer.py",
        "ending.eq(self.short),",
        "ending.eq(0),",
        "a list of one event or none is read twice from its second tile on",
        PLAIN,
    ),
    Mutant(
        "sequencer-bias",
        "sequencer",
        "engine/sequencer.py",
        "tile.bias.eq(tile.bias + tile_steps)",
        "tile.bias.eq(tile.bias + tile_steps - 1)",
        "the next tile's biases start a group too early",
    ),
    Mutant(
        "sequencer-base",
        "sequencer",
        "engine/sequencer.py",
        "place.weight.eq(field[LayerField.WEIGHT_BASE])",
        "place.weight.eq(field[LayerField.KEY_BASE])",
        "a layer's weights are looked for at its keys' place",
    ),
    Mutant(
        "sequencer-rotation",
        "sequencer",
        "engine/sequencer.py",
        "place.turn.eq(0)",
        "place.turn.eq(lanes // 16)",
        "the rotation is one tile ahead",
    ),
    Mutant(
        "sequencer-half",
        "sequencer",
        "engine/sequencer.py",
        "place.half.eq(sample[0])",
        "place.half.eq(0)",
        "odd samples read even samples' keys",
    ),
    Mutant(
        "sequencer-release",
        "sequencer",
        "engine/sequencer.py",
        "self.key_release.eq(head.parity != sample[0])",
        "self.key_release.eq(1)",
        "every pass gives keys back, not only the first of a sample",
    ),
    Mutant(
        "sequencer-cycles",
        "sequencer",
        "engine/sequencer.py",
        "self.cycles.eq(0),",
        "self.cycles.eq(1),",
        "the cycle counter starts at one",
    ),
    Mutant(
        "sequencer-early",
        "sequencer",
        "engine/sequencer.py",
        "again | (self.decided & self.early & ~self.leaves)",
        "again | (self.decided & self.early)",
        "an image that left comes back",
    ),
    # The registers.
    Mutant(
        "registers-dropped",
        "registers",
        "bus/registers.py",
        "with m.If(self.response.ready):",
        "with m.If(self.response.valid):",
        "an answer that waits is dropped",
    ),
    Mutant(
        "registers-twice",
        "registers",
        "bus/registers.py",
        "with m.If(self.response.ready):",
        "with m.If(self.response.ready & self.request.valid):",
        "an answer is given until the next request",
    ),
    Mutant(
        "registers-overwritten",
        "registers",
        "bus/registers.py",
        "& (~self.response.valid | self.response.ready)\n            ),",
        "\n            ),",
        "an answer that waits is overwritten",
    ),
    Mutant(
        "registers-answering",
        "registers",
        "bus/registers.py",
        "~reading\n                & ~answering\n",
        "~reading\n",
        "a request is accepted while a read's answer is put together",
    ),
    Mutant(
        "registers-start-cycle",
        "registers",
        "bus/registers.py",
        "                & ~self.start\n",
        "",
        "a request is accepted in the cycle of a start",
    ),
    Mutant(
        "registers-error",
        "registers",
        "bus/registers.py",
        "self.response.payload.error.eq(read_error)",
        "self.response.payload.error.eq(0)",
        "a bad read is answered without an error",
    ),
    Mutant(
        "registers-busy",
        "registers",
        "bus/registers.py",
        "with m.If(request.write & in_region(item) & allowed):",
        "with m.If(request.write & in_region(item)):",
        "memories can be written during a run",
    ),
    Mutant(
        "registers-extent",
        "registers",
        "bus/registers.py",
        "(offset < extent(item, self.geometry))",
        "(offset <= extent(item, self.geometry))",
        "a region is one word too long",
    ),
    Mutant(
        "registers-start",
        "registers",
        "bus/registers.py",
        '& (settings["SAMPLES"] != 0)',
        "",
        "a run of no samples can be started",
    ),
    # The register slice before them.
    Mutant(
        "slice-overwritten",
        "accelerator",
        "lib/register_slice.py",
        "self.input.ready.eq(~self.output.valid | self.output.ready)",
        "self.input.ready.eq(1)",
        "a request that waits is overwritten by the next",
    ),
    Mutant(
        "slice-repeated",
        "accelerator",
        "lib/register_slice.py",
        "self.output.valid.eq(self.input.valid)",
        "self.output.valid.eq(self.input.valid | self.output.valid)",
        "a request is made again until there is another",
    ),
]


def patch(mutant: Mutant, folder: Path) -> Path:
    """A copy of the gateware with the defect, in ``folder``, which goes in front of the path of imports.

    Raises SynflipError unless the old text occurs exactly once.
    """
    text = (HDL / mutant.file).read_text()
    if text.count(mutant.old) != 1:
        raise SynflipError(
            f"mutant {mutant.name}: {mutant.old!r} occurs {text.count(mutant.old)} times "
            f"in {mutant.file}, not once"
        )
    shutil.copytree(HDL, folder / HDL.name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / HDL.name / mutant.file).write_text(text.replace(mutant.old, mutant.new))
    return folder


def outcomes(mutant: Mutant, benches: Sequence[str], case: Path, known: Iterable[str] = ()) -> dict[str, str]:
    """Bench -> the difference that it found, if any. Raises SynflipError if a bench did not run.

    known: simulators without a defect, which need not run.
    """
    with tempfile.TemporaryDirectory() as name:
        path = os.pathsep.join((str(patch(mutant, Path(name))), *sys.path))
        done = subprocess.run(
            [sys.executable, "-m", "synflip_sim.testbenches.runner", str(case), *benches, "--known", *known],
            env=os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
        )
    lines = [line.partition(": ") for line in done.stdout.splitlines()]
    found = {bench: difference for bench, _, difference in lines if bench in benches}
    if done.returncode != (1 if found else 0):
        raise SynflipError(f"mutant {mutant.name}: a bench did not run:\n{done.stderr[-3000:]}")
    return found


def table(found: dict[str, dict[str, str]]) -> str:
    """Markdown. found: mutant -> bench -> difference."""
    lines = [
        "# Mutants",
        "",
        "Deliberate defects of the gateware, and the benches that found them; the one named first must.",
        "Written by `make mutants`; the defects are in `sim/synflip_sim/campaigns/mutants.py`.",
        "",
        "| mutant | what it breaks | found by | first difference |",
        "|---|---|---|---|",
    ]
    for mutant in MUTANTS:
        differences = found[mutant.name]
        benches = sorted(differences, key=lambda bench: bench != mutant.bench)
        first = differences[benches[0]].partition(": expected")[0] if benches else ""
        lines.append(f"| {mutant.name} | {mutant.breaks} | {', '.join(benches) or '**nobody**'} | {first} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Exit status 1 if the bench that must find a mutant did not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True, help="the file to write")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--bench", nargs="+", default=tuple(BENCHES), choices=BENCHES, help="all unless told")
    chosen = parser.parse_args()
    benches = chosen.bench
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(chosen.workers) as pool:
        cases, known = {}, {}
        for name in {mutant.case for mutant in MUTANTS}:
            (Path(folder) / name).mkdir()
            cases[name] = CASES[name].prepare(Path(folder) / name)
            known[name] = [build(bench, CASES[name].geometry).name for bench in benches]

        def judge(mutant: Mutant) -> dict[str, str]:
            differences = outcomes(mutant, benches, cases[mutant.case], known[mutant.case])
            print(f"{mutant.name}: {', '.join(differences) or 'nobody'}", flush=True)
            return differences

        found = dict(zip([mutant.name for mutant in MUTANTS], pool.map(judge, MUTANTS), strict=True))
    chosen.table.write_text(table(found))
    missed = [mutant.name for mutant in MUTANTS if mutant.bench not in found[mutant.name]]
    sys.exit(f"not found by their bench: {', '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    main()
