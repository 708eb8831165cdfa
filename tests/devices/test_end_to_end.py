"""Images a second over a simulated serial line, in its own time, beside the formula."""

import numpy as np
import pytest
from synflip.devices import serial
from synflip.devices.accelerator import Accelerator
from synflip.devices.serial import SerialTransport
from synflip.inference.end_to_end import Link, rate
from synflip.inference.throughput import ADAPTER
from synflip.spec.frames import BAUD
from synflip.spec.geometry import Geometry
from synflip_sim.serial.pty import SerialBench, SerialLine, build
from synflip_sim.serial.timed_port import TimedPort

from tests.networks import random_network

pytestmark = pytest.mark.simulator

LINE = SerialLine(divisor=4, silence_bits=512)
CLOCK = LINE.divisor * BAUD
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
INPUTS, CLASSES = 784, 10
IMAGES = 12


def open_timed(monkeypatch) -> tuple[Accelerator, TimedPort]:
    port = TimedPort(SerialBench(build(GEOMETRY, LINE, lambda text: None), LINE), LINE, CLOCK, ADAPTER)
    monkeypatch.setattr(serial.serial, "Serial", port)
    monkeypatch.setattr(serial, "time", port)
    return Accelerator(SerialTransport("simulated", BAUD)), port


def images_per_second(device, port, pixels, samples):
    """From the difference of two inferences, so that beginning and end do not count."""
    times = []
    for count in (1, 2):
        start = port.monotonic()
        device.infer(np.tile(pixels, (count, 1)), samples, 1)
        times.append(port.monotonic() - start)
    return len(pixels) / (times[1] - times[0])


@pytest.mark.parametrize("samples", [1, 64])
def test_the_formula_is_what_the_simulated_line_takes(samples, monkeypatch):
    """No activation is 0, and no byte is escaped."""
    device, port = open_timed(monkeypatch)
    with device:
        model = random_network(np.random.default_rng(1), (INPUTS, CLASSES), 4)
        device.load(model)
        found = images_per_second(device, port, np.ones((IMAGES, INPUTS), np.uint8), samples)
    activity = {"rows": [INPUTS], "outputs": [CLASSES], "bits": 4, "loads": {"16x2": [[392, 0, 392]]}}
    predicted = rate(GEOMETRY, CLOCK, activity, Link.serial, samples)
    assert predicted.limit == "link"
    assert found == pytest.approx(predicted.images, rel=0.03)
