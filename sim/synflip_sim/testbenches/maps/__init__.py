"""cocotb benches of what only accelerators with maps have: segments and the pooling.

Imports ``synflip_sim.testbenches`` and everything below it.
"""
