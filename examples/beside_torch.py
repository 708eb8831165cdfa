"""A network of coins beside an ordinary torch network of the same shape, on one data set and on foreign rows.

table.py, series.py, text.py and graph.py call it.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import synflip
import torch
from numpy.typing import NDArray
from synflip.spec.model import CompiledModel
from synflip.training.baseline import fit_float, float_network
from synflip.uncertainty import entropy
from synflip.uncertainty.metrics import metrics, outside_auroc


def compare(
    model: CompiledModel,
    data: synflip.Dataset,
    foreign: NDArray,
    kind: str,
    hidden: Sequence[int],
    epochs: int,
    samples: int,
) -> None:
    """Print how often each network is right, how well calibrated it is, and how foreign rows are told.

    model: of coins, compiled, with an input quantizer. foreign: rows [M, I] of none of the classes; kind:
    what they are. hidden, epochs: of the ordinary network. samples: of the coins, for each row.
    """
    network = float_network(data, hidden, seed=1)
    fit_float(network, data, epochs, seed=1)

    def softmax(pixels: NDArray) -> NDArray:
        with torch.no_grad():
            return network(torch.from_numpy(pixels).float() / data.input_max).double().softmax(1).numpy()

    def clipped(rows: NDArray) -> NDArray:
        return ((rows < model.input_quantizer.low) | (rows > model.input_quantizer.high)).mean(1)

    outside = replace(data, name=kind, test_images=foreign, test_labels=np.zeros(len(foreign), int))
    found = synflip.evaluate(model, data, samples, outside=outside).numbers
    own, strange = softmax(data.test_pixels), softmax(outside.test_pixels)
    rows = {"an ordinary network": metrics(own, data.test_labels).as_dict()}
    rows |= {f"coins, samples: {n}": found["aggregates"]["mean softmax"][str(n)] for n in (1, samples)}
    print(f"\n{'':19} {'right':>7} {'ECE':>7} {'NLL':>7}")
    for name, row in rows.items():
        print(f"{name:19} {row['accuracy']:7.1%} {row['ece']:7.3f} {row['nll']:7.3f}")
    aurocs = {
        "entropy of an ordinary network": outside_auroc(entropy(own), entropy(strange)),
        "entropy of coins": found["outside"]["auroc"]["mean softmax"],
        "inputs outside the model's ranges": outside_auroc(clipped(data.test_images), clipped(foreign)),
    }
    print(f"\n{kind}, told from the test rows: AUROC, 0.5 if not at all")
    for name, auroc in aurocs.items():
        print(f"    {name:33} {auroc:.3f}")
