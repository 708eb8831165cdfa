"""The accelerator's host in C: a library for processors beside it, and models as arrays for that library.

Imports ``synflip_hdl.export``, and of the library its contract.
"""
