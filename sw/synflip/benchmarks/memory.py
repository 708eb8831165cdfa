"""Peak memory of ``synflip run`` against images, each run in a process of its own."""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from synflip import modelfile
from synflip.benchmarks.networks import Models
from synflip.benchmarks.start_up import command

NETWORK = "mnist-512"
IMAGES, QUICK_IMAGES = (1_000, 10_000, 100_000, 1_000_000), (1_000, 20_000)
#: Prints the peak memory of a command. On Linux ru_maxrss includes the parent process before exec; VmHWM does
#: not.
_PROBE = """
import re, resource, sys
from pathlib import Path
from synflip.cli.app import main
status = main(sys.argv[1:])
there = Path("/proc/self/status")
found = re.search(r"VmHWM:\\s*(\\d+) kB", there.read_text()) if there.exists() else None
most = int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print("most", most * (1 if sys.platform == "darwin" else 1024))
sys.exit(status)
"""


def run(models: Models) -> dict[str, Any]:
    """Peak bytes and seconds of a run of one sample, for each number of images."""
    model = models.model(NETWORK)
    pixels = models.data(NETWORK).test_images
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        modelfile.save(model, folder / "m.safetensors")
        for count in QUICK_IMAGES if models.quick else IMAGES:
            models.say(f"memory: {count} images")
            write_images(folder / "x.npy", pixels, count)
            began = time.perf_counter()
            most = peak(
                folder, "run", "m.safetensors", "--images", "x.npy", "--samples", "1", "--out", "r.npz"
            )
            rows.append({"images": count, "bytes": most, "seconds": time.perf_counter() - began})
    return {"network": NETWORK, "shape": model.shape, "rows": rows}


def peak(folder: Path, *words: str) -> int:
    """Peak memory, in bytes, of the command ``synflip *words`` run in ``folder``. Raises SynflipError."""
    return int(command(folder, _PROBE, *words).split()[-1])


def write_images(path: Path, pixels: NDArray[np.uint8], count: int) -> None:
    """Write ``count`` images as ``.npy``: ``pixels`` [N, I], repeated as often as needed, block by block."""
    with path.open("wb") as file:
        npy.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": (count, pixels.shape[1])}
        )
        for first in range(0, count, len(pixels)):
            file.write(np.ascontiguousarray(pixels[: count - first]).data)
