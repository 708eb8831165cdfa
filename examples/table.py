"""A table: is a tumour malignant, who grew a wine? Columns of any range, and a network that knows its doubts.

    python examples/table.py [EPOCHS] [wine] [thermometer]

Without `wine` the table is of breast cancer; both ship with scikit-learn, nothing is downloaded. With
`thermometer` each column becomes four inputs: 1 if the value is above a fifth, two fifths, .. of the training
rows, else 0. About half a minute on a laptop.
"""

import sys

import numpy as np
import synflip
from beside_torch import compare
from sklearn.datasets import load_breast_cancer, load_wine
from synflip.compiler.compile import compile_network
from synflip.training.train import train

EPOCHS = next((int(word) for word in sys.argv[1:] if word.isdecimal()), 40)
HIDDEN = (64,)
SAMPLES = 64

# Columns reach from thousandths to thousands. The quantizer fitted to them travels in the model's file.
name, load = ("wine", load_wine) if "wine" in sys.argv else ("breast cancer", load_breast_cancer)
table = load(as_frame=True)
data = synflip.Dataset.of(table.data, table.target_names[table.target], name=name)
# Foreign rows: each column is shuffled by itself, so every number is likely and their company is not.
foreign = np.random.default_rng(0).permuted(data.test_images, axis=0)
last = table.data.iloc[[-1]][sorted(table.data.columns)]  # one row; its columns may be in any order
if "thermometer" in sys.argv:
    marks = np.quantile(data.train_images, (0.2, 0.4, 0.6, 0.8), axis=0)
    parts = (data.train_images, data.test_images, foreign, last[table.data.columns].to_numpy())
    train_rows, test_rows, foreign, last = (
        (rows[:, None] > marks).reshape(len(rows), -1).astype(np.uint8) for rows in parts
    )
    labelled = (train_rows, data.train_labels, test_rows, data.test_labels)
    data = synflip.Dataset.of(*labelled, classes=data.classes, name=f"{name}, thermometer codes")
print(data)

network = train(data, HIDDEN, epochs=EPOCHS, seed=1)
model = compile_network(network, data.classes, data.input_max)

compare(model, data, foreign, "shuffled columns", HIDDEN, EPOCHS, SAMPLES)

with synflip.open_device("golden") as device:
    device.load(model)
    votes = device.infer(last, samples=SAMPLES, seed=7).votes[0]
print(f"\nthe last row: {dict(zip(data.classes, votes.tolist(), strict=True))} votes")
