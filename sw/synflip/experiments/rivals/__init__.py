"""Methods that people would use in place of coins, each of an ordinary network's shape.

Imports ``synflip.training``, ``synflip.compiler`` and torch; only ``synflip.experiments`` imports it.
"""
