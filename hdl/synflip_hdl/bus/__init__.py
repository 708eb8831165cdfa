"""The memory map: registers, and the arbiter by which several masters share them.

Imports ``synflip_hdl.interfaces``, ``synflip_hdl.lib`` and ``synflip.spec``.
"""
