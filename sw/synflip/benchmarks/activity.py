"""Measured activity of three networks: how many activations are not zero, on which a pass's time depends.

    python -m synflip.benchmarks.activity

trains each network and writes ``synflip/inference/activity.json``. MNIST is read as ``synflip train`` reads
it.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from synflip.inference import throughput
from synflip.spec.cycles import LOADS, bank_load
from synflip.spec.geometry import BANKS, LANE_STEP, MAX_LANES
from synflip.util.progress import bar

#: Data set and hidden layers, k = 4 and A = 8.
NETWORKS = (("digits", (64, 128)), ("mnist", (200, 200)), ("mnist", (512, 512)))
BITS, ACTIVATION_BITS, SEED = 4, 8, 0
IMAGES, SAMPLES = 200, 8


def run(name: str, hidden: tuple[int, ...]) -> dict[str, Any]:
    """Train a network, and count the loads of each layer that the cycle model asks for, mean over IMAGES test
    images and SAMPLES network samples, for each number of lanes and banks."""
    import torch

    from synflip.compiler.compile import compile_network
    from synflip.data.registry import load
    from synflip.golden.cpu import Golden
    from synflip.training.loop import default_epochs
    from synflip.training.train import train

    data = load(name)
    with bar(f"Training {name} {hidden}") as advance:
        network = train(
            data, list(hidden), BITS, ACTIVATION_BITS, default_epochs(data), SEED, False,
            lambda s: advance(s.step, s.steps),
        )  # fmt: skip
    model = compile_network(network, data.classes, data.input_max)
    golden = Golden()
    golden.load(model)
    pixels = data.test_images[:: len(data.test_images) // IMAGES][:IMAGES]
    inputs = torch.from_numpy(model.activations(pixels))
    sizes = [(lanes, banks) for lanes in range(LANE_STEP, MAX_LANES + 1, LANE_STEP) for banks in BANKS]
    loads: dict[tuple[int, int], list[Any]] = {size: [] for size in sizes}
    for sample in range(SAMPLES):
        for x, _ in golden.layers(inputs, golden.coins(SEED, sample)):
            for size, found in loads.items():
                found.append(bank_load(x.numpy() != 0, size[1], size[0]).mean(0))
    shape = (SAMPLES, len(model.layers), len(LOADS))
    return {
        "network": f"{name} {model.shape}",
        "rows": list(model.rows),
        "outputs": list(model.outputs),
        "bits": BITS,
        "loads": {
            f"{lanes}x{banks}": np.reshape(values, shape).mean(0).round(2).tolist()
            for (lanes, banks), values in loads.items()
        },
    }


def main() -> None:
    """Write the file."""
    found = [run(name, hidden) for name, hidden in NETWORKS]
    file = Path(throughput.__file__).with_name(throughput.ACTIVITY)
    file.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
