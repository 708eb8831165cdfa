"""Proofs of the gateware: harnesses for yosys-smtbmc, one file a block. ``make proof`` runs them all."""

from . import coins, drain, entries, lanes, lfsr, registers

PROOFS = [*coins.PROOFS, *lfsr.PROOFS, *lanes.PROOFS, *entries.PROOFS, *drain.PROOFS, *registers.PROOFS]
