"""Components that know nothing of networks: register slices, reads and writes of memories, distance.

Imports ``synflip.spec`` and Amaranth.
"""
