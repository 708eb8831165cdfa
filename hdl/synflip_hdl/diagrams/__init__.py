"""A picture of the accelerator's blocks, made of what the gateware is.

Imports the gateware, ``synflip.report`` and what they import.
"""
