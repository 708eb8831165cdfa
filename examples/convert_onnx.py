"""Make a network of coins from one of scikit-learn, by way of an ONNX file, and ask it for votes.

Needs the extra `onnx` and the package skl2onnx. Run: python examples/convert_onnx.py
Writes mlp.onnx and mlp.safetensors into the current folder, and prints the accuracies.
"""

import numpy as np
import synflip
from skl2onnx import to_onnx
from sklearn.neural_network import MLPClassifier
from synflip.data import load

digits = load("digits")
# The network takes the pixels as they are, 0..16.
pixels = digits.train_images.astype(np.float32)
network = MLPClassifier((64,), tol=0.005, random_state=0).fit(pixels, digits.train_labels)
with open("mlp.onnx", "wb") as file:
    file.write(to_onnx(network, pixels[:1]).SerializeToString())

# A network's input is (share of white - mean) / std, so pixels are shares / (1/16).
coins = synflip.convert("mlp.onnx", data=digits, std=1 / digits.input_max, epochs=6)
ladder = coins.ladder
print(f"scikit-learn:           {network.score(digits.test_images, digits.test_labels):.1%}")
print(f"the same, read:         {ladder.original:.1%}")
print(f"coins, as they are:     {ladder.converted:.1%}")
print(f"coins, fine-tuned:      {ladder.one_sample:.1%} of one sample, {ladder.vote:.1%} of votes")
print(f"same class as before:   {ladder.agreement:.1%}")

model = synflip.compile_network(coins, digits.classes, digits.input_max)
synflip.save(model, "mlp.safetensors")
with synflip.open_device("golden:16x2") as device:
    device.load(model)
    result = device.infer(digits.test_images, samples=16, seed=1)
print(f"compiled, vote of 16:   {(result.winner == digits.test_labels).mean():.1%}")
