"""Data sets: what is trained on and shown, read from files that are not trusted.

Imports ``synflip.util``, ``synflip.spec`` and ``synflip.errors``."""
