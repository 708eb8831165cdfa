"""From trained weights to compiled models, which hold integers only.

Imports ``synflip.golden`` and the rooms below.
"""

from synflip.compiler.compile import compile_layers, compile_network

__all__ = ["compile_layers", "compile_network"]
