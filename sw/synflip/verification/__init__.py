"""Devices against the golden model: random cases, fuzzing, coverage, the self-test.

Imports ``compiler``, ``evaluation``, ``devices`` and the rooms below them.
"""
