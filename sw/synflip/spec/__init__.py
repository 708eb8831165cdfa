"""The contract as code: constants and linear maps that software and gateware share.

The golden model and the gateware each have logic of their own; they share only the numbers of this room.

Imports the standard library, numpy and ``synflip.errors``.
"""
