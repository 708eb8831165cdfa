"""How long commands take from their start to their end, each in a process of its own, in turns."""

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from synflip import modelfile
from synflip.benchmarks.networks import Models
from synflip.benchmarks.timing import race
from synflip.errors import SynflipError

NETWORK = "digits"
IMAGES = 100
TURNS, QUICK_TURNS = 7, 1
#: Seconds that commands may take on an idle machine.
WANTED = {"synflip --help": 0.3, "synflip run": 2.0}
SYNFLIP = "import sys; from synflip.cli.app import main; sys.exit(main(sys.argv[1:]))"


def run(models: Models) -> dict[str, Any]:
    """Seconds, and seconds of a processor, of each command: the least of some turns. wanted: of WANTED.

    ``synflip run`` answers for IMAGES images with one network sample each, on the golden model.
    """
    model = models.model(NETWORK)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        modelfile.save(model, folder / "m.safetensors")
        np.save(folder / "x.npy", models.images(NETWORK, IMAGES))
        words = ("run", "m.safetensors", "--images", "x.npy", "--samples", "1", "--out", "r.npz")
        commands = {
            "python -c pass": partial(command, folder, "pass"),
            "synflip --help": partial(command, folder, SYNFLIP, "--help"),
            'python -c "import torch"': partial(command, folder, "import torch"),
            "synflip run": partial(command, folder, SYNFLIP, *words),
        }
        models.say("start-up")
        turns = QUICK_TURNS if models.quick else TURNS
        walls, processors = race(commands, turns), race(commands, turns, _seconds_of_children)
    rows = [
        {"command": name, "seconds": walls[name], "processor": processors[name], "wanted": WANTED.get(name)}
        for name in commands
    ]
    return {"network": NETWORK, "shape": model.shape, "images": IMAGES, "turns": turns, "rows": rows}


def command(folder: Path, text: str, *words: str) -> str:
    """What the Python program ``text`` prints, run with arguments in ``folder``. Raises SynflipError."""
    done = subprocess.run([sys.executable, "-c", text, *words], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SynflipError(f"synflip {' '.join(words)} failed: {done.stderr.strip()[-200:]}")
    return done.stdout


def _seconds_of_children() -> float:
    """Seconds of processors that finished processes have taken, in them and in the system for them."""
    used = os.times()
    return used.children_user + used.children_system
