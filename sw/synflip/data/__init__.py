"""Data sets: what is trained on and shown, read from files that are not trusted.

Imports ``synflip.util``, ``synflip.spec`` and ``synflip.errors``.
"""

from synflip.data.dataset import Dataset
from synflip.data.registry import NAMES, load

__all__ = ["NAMES", "Dataset", "load"]
