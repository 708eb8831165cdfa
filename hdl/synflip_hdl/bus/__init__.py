"""The memory map: registers, and the arbiter between two masters.

Imports ``synflip_hdl.interfaces``, ``synflip_hdl.lib`` and ``synflip.spec``.
"""
