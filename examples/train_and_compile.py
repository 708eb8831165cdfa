"""Train a network of coins on handwritten digits, compile it to integers, save it.

    python examples/train_and_compile.py [digits.safetensors]

The digits ship with scikit-learn; nothing is downloaded. About ten seconds on a laptop.
"""

import sys

import synflip
from synflip.compiler.compile import compile_network
from synflip.data import load
from synflip.training.loop import TrainStep
from synflip.training.train import train

FILE = sys.argv[1] if len(sys.argv) > 1 else "digits.safetensors"
BITS = 4  # a coin comes up heads with a probability of 0/16, 1/16, ... 15/16

digits = load("digits")
print(f"{len(digits.train_images)} training images of {digits.shape[0]}x{digits.shape[1]} pixels")


def show(at: TrainStep) -> None:
    """Print how far the training is."""
    if at.step % 100 == 0:
        print(f"step {at.step} of {at.steps}: loss {at.loss:.3f}")


# Every forward pass of the training flips coins, so the network learns to live with them.
network = train(digits, hidden=(64, 64), bits=BITS, epochs=20, seed=1, progress=show)

# From here on there are integers alone: each weight is a coin's probability, 0..15, and a sign.
model = compile_network(network, digits.classes, digits.input_max)
synflip.save(model, FILE)
coins = sum(layer.q.size for layer in model.layers)
silent = sum(int((layer.q == 0).sum()) for layer in model.layers)
print(f"\n{model.shape}: {coins:,} coins, of which {silent:,} never come up heads. Saved as {FILE}")

# One sample of the network is one flip of every coin. More samples vote.
with synflip.open_device("golden") as device:
    device.load(model)
    for samples in (1, 4, 16, 64):
        result = device.infer(digits.test_images, samples=samples, seed=7)
        right = (result.winner == digits.test_labels).mean()
        print(f"{samples:3} votes: {right:.1%} of {len(digits.test_labels)} test images are right")
