"""From a trained network to the integers that an accelerator runs.

Imports ``synflip.golden`` and the rooms below it.
"""
