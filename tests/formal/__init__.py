"""Proofs of the gateware: harnesses for yosys-smtbmc, one file a block. ``make proof`` runs them all."""

from . import array, coins, drain, entries, events, keys, lanes, lfsr, registers, sequencer, votes

PROOFS = [
    *coins.PROOFS,
    *lfsr.PROOFS,
    *lanes.PROOFS,
    *entries.PROOFS,
    *drain.PROOFS,
    *events.PROOFS,
    *keys.PROOFS,
    *registers.PROOFS,
    *sequencer.PROOFS,
    *votes.PROOFS,
    *array.PROOFS,
]
