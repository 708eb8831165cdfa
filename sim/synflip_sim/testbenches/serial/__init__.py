"""cocotb benches of the serial line.

Imports ``synflip_sim.testbenches`` and everything below it.
"""
