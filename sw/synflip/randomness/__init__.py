"""Sources of random bits, models of them, and the tests that they must pass.

Imports ``compiler``, ``evaluation``, ``devices`` and the rooms below them.
"""
