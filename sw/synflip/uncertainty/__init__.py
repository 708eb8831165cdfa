"""From votes and logits to answers: entropies, aggregates, temperature, metrics.

Imports ``synflip.util``, ``synflip.spec`` and ``synflip.errors``.
"""
