"""The gateware as text: Verilog, and the memory map for other languages.

Imports the front ends ``serial``, ``axi`` and ``usb`` and the rooms below them.
"""
