"""Images a second, for tests of links: measured in a simulation's time, and by the formula."""

import numpy as np
from synflip.inference.end_to_end import ONE_BANK, rate

MNIST_INPUTS = 784


def images_per_second(device, port, pixels, samples):
    """From the difference of two inferences, so that beginning and end do not count."""
    times = []
    for count in (1, 2):
        start = port.monotonic()
        device.infer(np.tile(pixels, (count, 1)), samples, 1)
        times.append(port.monotonic() - start)
    return len(pixels) / (times[1] - times[0])


def predict(geometry, clock, link, samples, outputs, events=MNIST_INPUTS):
    """``rate`` of one layer. events: activations of an image that are not 0."""
    share = events / geometry.banks
    loads = {geometry.name: [[share, 0, share]], ONE_BANK: [[events, 0, events]]}
    activity = {"rows": [MNIST_INPUTS], "outputs": [outputs], "bits": 4, "loads": loads}
    return rate(geometry, clock, activity, link, samples)


def sparse_images(count, events):
    """Images with so many activations that are not 0, anywhere."""
    rng = np.random.default_rng(3)
    images = np.zeros((count, MNIST_INPUTS), np.uint8)
    for image in images:
        image[rng.choice(MNIST_INPUTS, events, replace=False)] = rng.integers(1, 256, events)
    return images
