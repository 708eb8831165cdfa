"""Data sets, tables and image files, read without trust: nothing is unpickled, sizes are checked first.

Imports ``synflip.util``, ``synflip.spec`` and ``synflip.errors``.
"""

from synflip.data.dataset import Dataset
from synflip.data.registry import NAMES, load

__all__ = ["NAMES", "Dataset", "load"]
