"""The accelerator behind a UART: bytes, frames, and a bridge to the bus.

Imports ``synflip_hdl.accelerator`` and the rooms below it.
"""
