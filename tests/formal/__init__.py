"""Proofs of the gateware: harnesses for yosys-smtbmc, one file a block. ``make proof`` runs them all."""

from tests.formal import (
    array,
    coins,
    drain,
    entries,
    events,
    keys,
    lanes,
    lfsr,
    registers,
    sequencer,
    stage,
    votes,
)

PROOFS = [
    *coins.PROOFS,
    *lfsr.PROOFS,
    *lanes.PROOFS,
    *entries.PROOFS,
    *drain.PROOFS,
    *events.PROOFS,
    *keys.PROOFS,
    *stage.PROOFS,
    *registers.PROOFS,
    *sequencer.PROOFS,
    *votes.PROOFS,
    *array.PROOFS,
]
