"""A table: is a tumour malignant? Thirty columns of any range, and a network of coins that knows its doubts.

    python examples/table.py [EPOCHS]

The table ships with scikit-learn; nothing is downloaded. About half a minute on a laptop.
"""

import sys

import numpy as np
import synflip
from beside_torch import compare
from sklearn.datasets import load_breast_cancer
from synflip.compiler.compile import compile_network
from synflip.training.train import train

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 40
HIDDEN = (64,)
SAMPLES = 64

# Columns reach from thousandths to thousands. The quantizer fitted to them travels in the model's file.
table = load_breast_cancer(as_frame=True)
data = synflip.Dataset.of(table.data, table.target_names[table.target], name="breast cancer")
print(data)

network = train(data, HIDDEN, epochs=EPOCHS, seed=1)
model = compile_network(network, data.classes, data.input_max)

# Foreign rows: each column is shuffled by itself, so every number is likely and their company is not.
draw = np.random.default_rng(0)
foreign = draw.permuted(data.test_images, axis=0)
compare(model, data, foreign, "shuffled columns", HIDDEN, EPOCHS, SAMPLES)

# One patient, as a row of the table; its columns may be in any order.
patient = table.data.iloc[[-1]][sorted(table.data.columns)]
with synflip.open_device("golden") as device:
    device.load(model)
    votes = device.infer(patient, samples=SAMPLES, seed=7).votes[0]
print(f"\nthe last patient: {dict(zip(data.classes, votes.tolist(), strict=True))} votes")
