"""Proofs of the array and what feeds it and reads it."""
