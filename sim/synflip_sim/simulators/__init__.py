"""Simulators as devices: Verilator, Icarus, netlists of cells.

Imports ``synflip_hdl`` and the library.
"""
