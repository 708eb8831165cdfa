"""Proofs of the gateware: harnesses for yosys-smtbmc, one file a block. ``make proof`` runs them all."""

from tests.formal import (
    coin_comparators,
    entry_writer,
    event_lists,
    frame_queue,
    image_words,
    key_memory,
    lane,
    lfsr,
    register_slice,
    registers,
    requantizer,
    sequencer,
    soft_votes,
    synapse_array,
    votes,
)

PROOFS = [
    *coin_comparators.PROOFS,
    *lfsr.PROOFS,
    *lane.PROOFS,
    *entry_writer.PROOFS,
    *requantizer.PROOFS,
    *event_lists.PROOFS,
    *key_memory.PROOFS,
    *register_slice.PROOFS,
    *registers.PROOFS,
    *frame_queue.PROOFS,
    *image_words.PROOFS,
    *sequencer.PROOFS,
    *votes.PROOFS,
    *soft_votes.PROOFS,
    *synapse_array.PROOFS,
]
