"""Texts: which package does a page of help come from? Hashed bags of words: a count is an activation.

    python examples/text.py [EPOCHS]

The texts are the docstrings of numpy, scipy and torch; nothing is downloaded. About a minute on a laptop.
"""

import inspect
import re
import sys

import numpy as np
import scipy.signal
import scipy.special
import scipy.stats
import synflip
import torch
from sklearn.feature_extraction.text import HashingVectorizer
from synflip.compiler.compile import compile_network
from synflip.training.baseline import float_baseline
from synflip.training.train import train

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 20
HIDDEN = (64,)
SAMPLES = 64
ROOMS = {"numpy": [np], "scipy": [scipy.signal, scipy.special, scipy.stats], "torch": [torch]}

texts = {}
for package, rooms in ROOMS.items():
    for room in rooms:
        for name in sorted(dir(room)):
            text = inspect.getdoc(getattr(room, name)) or ""
            if not name.startswith("_") and len(text) > 400:
                texts[re.sub(r"numpy|scipy|torch|np\b|tensor|ndarray", "", text, flags=re.I)] = package

# Most counts are 0, and a coin of a row that is 0 costs no time. Words share 512 places.
counts = HashingVectorizer(n_features=512, norm=None, alternate_sign=False).transform(texts).toarray()
data = synflip.Dataset.of(np.minimum(counts, 8), list(texts.values()), name="docstrings")
print(data)
print(f"{(data.train_pixels == 0).mean():.0%} of the inputs are 0")

network = train(data, HIDDEN, epochs=EPOCHS, seed=1)
model = compile_network(network, data.classes, data.input_max, input_quantizer=data.input_quantizer)
found = synflip.evaluate(model, data, SAMPLES).numbers
print(f"\nan ordinary network of the same shape: {float_baseline(data, HIDDEN, EPOCHS, 1):.1%} right")
for samples in (1, SAMPLES):
    numbers = found["aggregates"]["mean softmax"][str(samples)]
    print(
        f"coins, {samples:2} samples: {numbers['accuracy']:.1%} right, calibration error {numbers['ece']:.3f}"
    )
