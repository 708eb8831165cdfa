"""Whole boards and UARTs in Verilator, behind a pseudo-terminal, with a line that may be bad.

Imports ``synflip_sim.simulators`` and everything below it.
"""
