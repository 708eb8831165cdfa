"""Other tools that make hardware of uncertain networks, measured in the same run as this machine.

Imports what ``synflip.benchmarks`` may; only ``synflip.benchmarks.registry`` imports it.
"""
