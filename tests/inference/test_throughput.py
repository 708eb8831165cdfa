"""What a run is predicted to take."""

import numpy as np
import pytest
from synflip.devices.framing import escape, request
from synflip.inference.throughput import ADAPTER, line_images
from synflip.spec.frames import BAUD, MAX_WORDS, Command


@pytest.mark.parametrize("pixels", [64, 784, 3072])
def test_a_serial_line_brings_as_many_images_as_its_bytes_allow(pixels):
    """Bytes of the driver's own frames, of images without a byte that is escaped."""
    words = np.full(-(-pixels // 4), 0x01010101, np.uint32)
    parts = [words[first : first + MAX_WORDS] for first in range(0, len(words), MAX_WORDS)]
    tag = 1 << 16 | 1
    sent = sum(len(request(tag, Command.WRITE, 0, len(part), part)) for part in parts)
    answered = len(parts) * len(escape(b"\1" * 8))  # TAG and TAIL
    seconds = (sent + answered) * 10 / BAUD + len(parts) * ADAPTER
    assert line_images(pixels) == pytest.approx(1 / seconds, rel=0.01)  # a CRC may have an escaped byte


def test_an_image_of_784_pixels_takes_816_bytes():
    assert line_images(784) == 211
    assert line_images(784, BAUD // 3) == int(1 / (816 * 10 / 1e6 + ADAPTER))
