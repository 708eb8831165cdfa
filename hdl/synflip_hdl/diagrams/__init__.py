"""Pictures of the accelerator, made of what it is: its blocks, a pass cycle by cycle, recorded signals.

Imports the gateware, ``synflip.golden``, ``synflip.report`` and what they import.
"""
