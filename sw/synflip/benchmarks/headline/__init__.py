"""The headline: what builds of boards do with networks, beside published accelerators.

Imports what ``synflip.benchmarks`` may; only ``synflip.cli`` imports it.
"""
