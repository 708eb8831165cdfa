"""The driver of an accelerator, what carries its words, and the table of devices by name.

Imports ``synflip.golden`` and the rooms below it. Simulators come by entry points, not by import.
"""
