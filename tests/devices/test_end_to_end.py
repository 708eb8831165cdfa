"""Images a second over a simulated serial line, in its own time, beside the formula."""

import numpy as np
import pytest
from synflip.devices import serial
from synflip.devices.accelerator import Accelerator
from synflip.devices.serial import SerialTransport
from synflip.golden.cpu import Golden
from synflip.inference.end_to_end import ONE_BANK
from synflip.inference.throughput import ADAPTER, activities
from synflip.spec.frames import BAUD
from synflip.spec.fronts import Link
from synflip.spec.geometry import Geometry
from synflip_sim.serial.pty import SerialBench, SerialLine, build
from synflip_sim.serial.timed_port import TimedPort

from tests.networks import random_network
from tests.rates import MNIST_INPUTS, images_per_second, predict, sparse_images

pytestmark = pytest.mark.simulator

SIMPLE = SerialLine(divisor=4, silence_bits=512, queued=False)
AHEAD = SerialLine(divisor=4, silence_bits=512)
CLOCK = AHEAD.divisor * BAUD
GEOMETRY = Geometry(
    16,
    2,
    bits=4,
    weight_depth=512,
    event_depth=4096,
    key_depth=512,
    bias_depth=64,
    image_slots=8,
    log_depth=64,
)
CLASSES = 10
IMAGES = 12


def open_timed(monkeypatch, line) -> tuple[Accelerator, TimedPort]:
    port = TimedPort(SerialBench(build(GEOMETRY, line, lambda text: None), line), line, CLOCK, ADAPTER)
    monkeypatch.setattr(serial.serial, "Serial", port)
    monkeypatch.setattr(serial, "time", port)
    return Accelerator(SerialTransport("simulated", BAUD)), port


@pytest.mark.parametrize(
    ("line", "link", "samples", "limit"),
    [
        pytest.param(SIMPLE, Link.serial, 1, "link", marks=pytest.mark.nightly),
        pytest.param(SIMPLE, Link.serial, 64, "link", marks=pytest.mark.nightly),
        (AHEAD, Link.ahead, 1, "link"),
        (AHEAD, Link.ahead, 128, "array"),
    ],
)
def test_the_formula_is_what_the_simulated_line_takes(line, link, samples, limit, monkeypatch):
    """No activation is 0, and no byte is escaped."""
    device, port = open_timed(monkeypatch, line)
    with device:
        device.load(random_network(np.random.default_rng(1), (MNIST_INPUTS, CLASSES), 4))
        found = images_per_second(device, port, np.full((IMAGES, MNIST_INPUTS), 255, np.uint8), samples)
    predicted = predict(GEOMETRY, CLOCK, link, samples, CLASSES)
    assert predicted.limit == limit
    assert found == pytest.approx(predicted.images, rel=0.05)


def test_seven_hundred_images_of_mnist_a_second(monkeypatch, capsys):
    """3 Mbaud of a 12 MHz clock, batches of four, and an adapter that takes 2 ms. Images have as many
    activations that are not 0 as MNIST's have in the mean."""
    events = round(activities()[1]["loads"][ONE_BANK][0][0])
    device, port = open_timed(monkeypatch, AHEAD)
    with device:
        model = random_network(np.random.default_rng(1), (MNIST_INPUTS, CLASSES), 4)
        device.load(model)
        images = sparse_images(IMAGES, events)
        found = images_per_second(device, port, images, 1)
        counters = device.transport.counters
        golden = Golden(GEOMETRY)
        golden.load(model)
        want, have = (each.infer(images, 1, 1) for each in (golden, device))
    predicted = predict(GEOMETRY, CLOCK, Link.ahead, 1, CLASSES, events).images
    with capsys.disabled():
        print(f"\n{found:.0f} images of MNIST a second, {predicted:.0f} predicted; {counters}")
    np.testing.assert_array_equal(have.votes, want.votes)
    np.testing.assert_array_equal(have.logit_sums, want.logit_sums)
    assert have.cycles == want.cycles
    assert found == pytest.approx(predicted, rel=0.05)
    assert min(found, predicted) > 700
    assert counters.repeats == 0
