"""How fast everything is: golden model, simulator, accelerator, boards.

Imports everything but ``cli``, ``experiments``, ``serve`` and campaigns; only ``synflip.cli`` imports it.
"""
