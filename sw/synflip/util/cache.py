"""Where built things are kept."""

import os
from pathlib import Path


def cache_root() -> Path:
    """Where built libraries are kept: ``$SYNFLIP_CACHE``, else ``$XDG_CACHE_HOME/synflip``, else
    ``~/.cache/synflip``."""
    chosen = os.environ.get("SYNFLIP_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "synflip"
