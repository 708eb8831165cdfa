"""Components that know nothing of networks: register slices, memory reads, entry writers.

Imports ``synflip.spec`` and Amaranth.
"""
