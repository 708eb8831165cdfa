"""The accelerator behind AXI4-Lite and AXI4-Stream.

Imports ``synflip_hdl.accelerator`` and the rooms below it.
"""
