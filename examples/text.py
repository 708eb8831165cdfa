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
import sklearn.metrics
import synflip
import torch
from beside_torch import compare
from sklearn.feature_extraction.text import HashingVectorizer
from synflip.compiler.compile import compile_network
from synflip.training.train import train

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 20
HIDDEN = (64,)
SAMPLES = 64
ROOMS = {"numpy": [np], "scipy": [scipy.signal, scipy.special, scipy.stats], "torch": [torch]}

FOREIGN = {"scikit-learn": [sklearn.metrics]}


def counted(rooms: dict[str, list]) -> tuple[np.ndarray, list[str]]:
    """Counts of words of each page of help, [N, 512], and the package that each is of."""
    texts = {}
    for package, modules in rooms.items():
        for module in modules:
            for name in sorted(dir(module)):
                text = inspect.getdoc(getattr(module, name)) or ""
                if not name.startswith("_") and len(text) > 400:
                    texts[re.sub(r"numpy|scipy|torch|np\b|tensor|ndarray", "", text, flags=re.I)] = package
    words = HashingVectorizer(n_features=512, norm=None, alternate_sign=False)
    return np.minimum(words.transform(texts).toarray(), 8), list(texts.values())


# Most counts are 0, and a coin of a row that is 0 costs no time. Words share 512 places.
data = synflip.Dataset.of(*counted(ROOMS), name="docstrings")
print(data)
print(f"{(data.train_pixels == 0).mean():.0%} of the inputs are 0")

network = train(data, HIDDEN, epochs=EPOCHS, seed=1)
model = compile_network(network, data.classes, data.input_max)
compare(model, data, counted(FOREIGN)[0], "pages of scikit-learn", HIDDEN, EPOCHS, SAMPLES)
