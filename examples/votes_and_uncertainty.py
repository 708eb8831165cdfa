"""What votes say of how sure to be: the least certain digits, and what is gained by leaving them to a person.

    python examples/votes_and_uncertainty.py [digits.safetensors]

The file is written by train_and_compile.py.
"""

import sys

import numpy as np
import synflip
from synflip.data import load

FILE = sys.argv[1] if len(sys.argv) > 1 else "digits.safetensors"
SAMPLES = 64
INK = " .:-=+*#%@"

digits = load("digits")
model = synflip.load(FILE)
with synflip.open_device("golden") as device:
    device.load(model)
    # The logits of every sample are kept: posterior and mutual information are made of them.
    result = device.infer(digits.test_images, samples=SAMPLES, seed=7, logits=True)

# votes: [images, classes]. Entropy is 0 bits if all samples agree, log2(10) = 3.3 if they are spread evenly.
least_certain = np.argsort(-result.entropy, kind="stable")
for image in least_certain[:3]:
    print(f"\nA {digits.classes[digits.test_labels[image]]}, entropy {result.entropy[image]:.2f} bits:")
    for row in digits.test_images[image].reshape(digits.shape):
        print("   ", "".join(2 * INK[int(pixel) * (len(INK) - 1) // digits.input_max] for pixel in row))
    for label in np.argsort(-result.votes[image], kind="stable"):
        if result.votes[image, label]:
            print(f"    {digits.classes[label]} {'o' * int(result.votes[image, label])}")

# Mutual information is the part of the doubt that comes from the coins: samples that are each sure, but of
# different classes. What remains is doubt that every sample has.
print(f"\nmean entropy of the votes: {result.entropy.mean():.3f} bits")
print(f"mean mutual information of class and coins: {result.mutual_information.mean():.3f} bits")

# A rule that needs no labels: leave the least certain share to a person.
right = result.winner == digits.test_labels
for share in (0.0, 0.05, 0.1, 0.2):
    kept = least_certain[round(share * len(right)) :]
    print(f"without the least certain {share:4.0%}: {right[kept].mean():.1%} of {len(kept)} images are right")
second = result.runner_up == digits.test_labels
print(f"of {np.sum(~right)} wrong answers, {np.sum(second & ~right)} had the right class in second place")
