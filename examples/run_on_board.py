"""Run a model on an accelerator at a serial port, and compare every number with the golden model's.

    python examples/run_on_board.py /dev/ttyUSB0 [digits.safetensors]

The file is written by train_and_compile.py. A baud rate may follow the port: /dev/ttyUSB0@1000000. Without a
board, `synflip simulate --geometry 16x2` prints the name of a pseudo-terminal with the simulated accelerator
behind it: this program takes that too.
"""

import sys
import time

import synflip
from synflip.data import load
from synflip.inference.compare import compare

if len(sys.argv) < 2:
    sys.exit(__doc__)
PORT = sys.argv[1]
FILE = sys.argv[2] if len(sys.argv) > 2 else "digits.safetensors"
IMAGES, SAMPLES, SEED = 8, 4, 7

pixels = load("digits").test_images[:IMAGES]
model = synflip.load(FILE)

with synflip.open_device(PORT) as board:
    # The accelerator says itself what it is: lanes, banks, bits of a probability, memories.
    print(f"{PORT}: {board.geometry.name}, k = {board.geometry.bits}")
    board.load(model)  # SynflipError if the model does not fit, with what is short
    start = time.perf_counter()
    result = board.infer(pixels, SAMPLES, SEED, logits=True)
    seconds = time.perf_counter() - start

# The reference knows the same geometry, so that it predicts the clock cycles too.
with synflip.open_device("golden", board.geometry) as golden:
    golden.load(model)
    expected = golden.infer(pixels, SAMPLES, SEED, logits=True)

comparison = compare(expected, result, PORT)
for quantity, count in comparison.compared.items():
    print(f"{quantity:10} {comparison.different[quantity]} of {count} differ")
print(
    f"{result.cycles} cycles for {IMAGES} images and {SAMPLES} samples; {seconds:.2f} s with the serial line"
)
if not comparison.equal:
    sys.exit(f"first difference: {comparison.first}")
print("The board gave exactly the golden model's numbers.")
