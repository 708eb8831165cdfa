"""The accelerator behind USB: a device made of LUNA's parts, and the serial line's frames in its endpoints.

Imports the front end ``serial`` and the rooms below it.
"""

from synflip.util.extras import require

require("luna", extra="boards")
