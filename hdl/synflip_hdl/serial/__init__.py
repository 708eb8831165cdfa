"""The accelerator behind a UART: bytes, frames, a queue of them, and bridges to the bus.

Imports ``synflip_hdl.accelerator`` and the rooms below it.
"""
