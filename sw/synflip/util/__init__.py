"""Helpers that know nothing of coins: outputs, the cache, outside programs, text, threads, progress.

Imports ``synflip.errors`` alone.
"""
