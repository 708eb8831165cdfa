"""The machine: keys, events, coins, lanes, the requantizer, votes, and the sequencer that drives them.

Imports ``synflip_hdl.interfaces``, ``synflip_hdl.lib`` and ``synflip.spec``.
"""
