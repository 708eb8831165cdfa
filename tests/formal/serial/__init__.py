"""Proofs of what reads the serial line ahead."""
