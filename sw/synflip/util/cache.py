"""The folder that built simulators and netlists are kept in."""

import os
from pathlib import Path


def cache_root() -> Path:
    """``$SYNFLIP_CACHE``, else ``$XDG_CACHE_HOME/synflip``, else ``~/.cache/synflip``; it need not exist."""
    chosen = os.environ.get("SYNFLIP_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "synflip"
