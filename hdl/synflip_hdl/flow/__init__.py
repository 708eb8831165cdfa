"""From gateware to a bitstream: Yosys, nextpnr, packers, netlist passes, reports.

Imports ``boards``, ``export`` and the rooms below them.
"""
