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
from synflip.training.baseline import float_network
from synflip.training.loop import FLOAT_RATE, fit
from synflip.uncertainty import entropy
from synflip.uncertainty.metrics import metrics, outside_auroc
from torch.nn.functional import cross_entropy


def compare(
    model: CompiledModel, data: synflip.Dataset, foreign: NDArray, kind: str,
    hidden: Sequence[int], epochs: int, samples: int,
) -> None:  # fmt: skip
    """Print how often each network is right, how well calibrated it is, and how foreign rows are told.

    model: of coins, compiled. foreign: rows [M, I] of none of the classes; kind: what they are. hidden,
    epochs: of the ordinary network, which takes features as they are, with mean 0 and standard deviation 1 in
    the training part. samples: of the coins, for each row.
    """
    mean, spread = data.train_images.mean(0), data.train_images.std(0)

    def scaled(rows: NDArray) -> NDArray:
        return ((rows - mean) / np.where(spread == 0, 1, spread)).astype(np.float32)

    network, draw = float_network(data, hidden, seed=1), torch.Generator().manual_seed(1)
    groups, rows = [([*network.parameters()], FLOAT_RATE)], scaled(data.train_images)
    fit(groups, lambda x, y: cross_entropy(network(x), y), data, rows, epochs, draw, False, None)
    with torch.no_grad():
        own, strange = (
            network(torch.from_numpy(scaled(part))).double().softmax(1).numpy()
            for part in (data.test_images, foreign)
        )
    outside = replace(data, name=kind, test_images=foreign, test_labels=np.zeros(len(foreign), int))
    found = synflip.evaluate(model, data, samples, outside=outside).numbers
    figures = {"an ordinary network": metrics(own, data.test_labels).as_dict()}
    figures |= {f"coins, samples: {n}": found["aggregates"]["mean softmax"][str(n)] for n in (1, samples)}
    print(f"\n{'':19} {'right':>7} {'ECE':>7} {'NLL':>7}")
    for name, row in figures.items():
        print(f"{name:19} {row['accuracy']:7.1%} {row['ece']:7.3f} {row['nll']:7.3f}")
    low, high = model.input_quantizer.low, model.input_quantizer.high
    out = [((part < low) | (part > high)).mean(1) for part in (data.test_images, foreign)]
    print(f"\n{kind}, told from the test rows: AUROC, 0.5 if not at all")
    print(f"    entropy of an ordinary network    {outside_auroc(entropy(own), entropy(strange)):.3f}")
    print(f"    entropy of coins                  {found['outside']['auroc']['mean softmax']:.3f}")
    print(f"    inputs outside the model's ranges {outside_auroc(*out):.3f}")
