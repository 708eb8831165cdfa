"""Compiled models and exported networks as files, read without trust.

Imports ``synflip.util``, ``synflip.spec`` and ``synflip.errors``."""
