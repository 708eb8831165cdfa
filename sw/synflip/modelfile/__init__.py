"""Compiled models and exported networks as files, read without trust.

Imports ``synflip.util``, ``synflip.spec`` and ``synflip.errors``.
"""

from synflip.modelfile.safetensors import features_path, load, save

__all__ = ["features_path", "load", "save"]
