"""The accelerator behind USB in Verilator, a ULPI transceiver or a cable, and a host that speaks USB 2.0.

The host is written from the specification and shares no code with the gateware or LUNA. Imports the room
``simulators``, and Verilog from ``synflip_hdl``.
"""
