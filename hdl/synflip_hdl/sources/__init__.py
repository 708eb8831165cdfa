"""Where keys come from: an LFSR, or magnetic tunnel junctions with health tests.

Imports ``synflip_hdl.interfaces``, ``synflip_hdl.lib`` and ``synflip.spec``.
"""
