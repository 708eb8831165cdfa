"""A graph: which half of a karate club does a member join? Features that neighbours pass on become rows.

    python examples/graph.py [EPOCHS]

The graph ships with networkx; nothing is downloaded. A few seconds on a laptop.
"""

import sys

import networkx
import numpy as np
import synflip
from beside_torch import compare
from synflip.compiler.compile import compile_network
from synflip.training.train import train

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 200
HIDDEN = (16,)
SAMPLES = 64
STEPS = 2  # how far features travel

club = networkx.karate_club_graph()
near = networkx.to_numpy_array(club, weight=None) + np.eye(len(club))
near /= np.sqrt(np.outer(near.sum(0), near.sum(0)))  # as graph convolutions take it: Kipf and Welling, 2017
rows = np.linalg.matrix_power(near, STEPS)  # each member's own feature, passed on

# The passing on is done once, before the coins: a network of coins sees rows and no graph.
halves = [club.nodes[member]["club"] for member in club]
data = synflip.Dataset.of(rows, halves, name="karate club")
print(data)

network = train(data, HIDDEN, epochs=EPOCHS, seed=1)
model = compile_network(network, data.classes, data.input_max)

# Foreign members: each knows four that are drawn from both halves.
draw = np.random.default_rng(0)
foreign = np.array([rows[draw.choice(len(rows), 4, replace=False)].mean(0) for _ in rows])
compare(model, data, foreign, "members who know anyone", HIDDEN, EPOCHS, SAMPLES)

with synflip.open_device("golden") as device:
    device.load(model)
    result = device.infer(data.test_images, SAMPLES, seed=7)
print()
for half, votes in zip(data.test_labels, result.votes, strict=True):
    print(
        f"{data.classes[half]:8} {votes.max() / SAMPLES:.0%} of the votes for {data.classes[votes.argmax()]}"
    )
