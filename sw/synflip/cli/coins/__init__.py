"""The commands on coins: their evidence, their cells, and the junctions that they may come from.

Imports everything; only ``synflip.cli`` imports it.
"""
