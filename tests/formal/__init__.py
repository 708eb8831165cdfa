"""Proofs of the gateware: harnesses for yosys-smtbmc, one file a block. ``make proof`` runs them all."""

from tests.formal import entry_writer, lfsr, register_slice, registers
from tests.formal.engine import (
    coin_comparators,
    event_lists,
    key_memory,
    lane,
    pool,
    requantizer,
    segments,
    sequencer,
    sequencer_maps,
    soft_votes,
    synapse_array,
    votes,
)
from tests.formal.serial import frame_queue, image_words

PROOFS = [
    *coin_comparators.PROOFS,
    *lfsr.PROOFS,
    *lane.PROOFS,
    *entry_writer.PROOFS,
    *requantizer.PROOFS,
    *pool.PROOFS,
    *event_lists.PROOFS,
    *key_memory.PROOFS,
    *register_slice.PROOFS,
    *registers.PROOFS,
    *frame_queue.PROOFS,
    *image_words.PROOFS,
    *sequencer.PROOFS,
    *sequencer_maps.PROOFS,
    *segments.PROOFS,
    *votes.PROOFS,
    *soft_votes.PROOFS,
    *synapse_array.PROOFS,
]
