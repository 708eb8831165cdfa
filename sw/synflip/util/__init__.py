"""Helpers that know nothing of coins: atomic files, the cache, text, threads, progress.

Imports ``synflip.errors`` alone.
"""
