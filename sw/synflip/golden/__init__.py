"""The reference: what every device must compute, in torch, to the bit.

Imports ``synflip.inference`` and the rooms below it; never ``devices`` or ``compiler``, which it judges.
"""
