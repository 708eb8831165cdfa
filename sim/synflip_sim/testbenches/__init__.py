"""cocotb benches of every block and of the whole: the only room that imports cocotb.

Imports ``synflip_sim.simulators`` and everything below it.
"""
