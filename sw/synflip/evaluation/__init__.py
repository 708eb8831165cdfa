"""How good a compiled model is: accuracy, calibration, out-of-distribution images, margins of early stopping.

Imports ``synflip.golden`` and the rooms below it.
"""
