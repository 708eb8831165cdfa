"""Boards: pins, clocks, and the top level of each.

Imports the front ends ``serial`` and ``usb`` and the rooms below them.
"""

from synflip.util.extras import require

require("amaranth", extra="boards")
