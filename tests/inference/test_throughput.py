"""What a run is predicted to take."""

from pathlib import Path

import numpy as np
import pytest
from synflip.devices.framing import escape, request
from synflip.inference.end_to_end import EARLY_MOST, EARLY_SAMPLES, Link, rate, table_rows
from synflip.inference.throughput import ADAPTER, activities, line_images, run_cycles
from synflip.spec.frames import BAUD, MAX_WORDS, Command
from synflip.spec.geometry import Geometry


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


def test_the_slower_of_link_and_array_limits():
    geometry, clock = Geometry(64, 8), 100e6
    mnist = activities()[1]
    for samples in (1, 64, 8192):
        found = {link: rate(geometry, clock, mnist, link, samples) for link in Link}
        array = 8 * clock / run_cycles(geometry, mnist, 8, samples)  # 8 of 16 slots: two batches take turns
        assert found[Link.serial].images < found[Link.ahead].images < found[Link.axi].images < array
        assert (found[Link.axi].limit, found[Link.axi].images > 0.95 * array) == (
            ("link", False) if samples == 1 else ("array", True)
        )
        assert found[Link.serial].limit == ("array" if samples == 8192 else "link")
    small = Geometry(32, 4)
    four, early, one = (
        rate(small, clock, mnist, Link.axi, samples, samples == EARLY_MOST).images
        for samples in (4, EARLY_MOST, 1)
    )
    assert four < early < one


def test_networks_that_do_not_fit_have_no_rate():
    rows = table_rows("a board", Geometry(16, 1, weight_depth=2048, event_depth=64), 1e7, False)
    links = (Link.serial, Link.axi)
    assert [row[:4] for row in rows] == [("a board", "4", link, "digits 64-64-128-10") for link in links]


def test_the_samples_of_early_stopping_are_those_of_the_page():
    page = Path(__file__).parents[2] / "docs" / "results" / "uncertainty.md"
    section = page.read_text().partition("<!-- begin paper early -->")[2]
    assert f"at most {EARLY_MOST} samples" in section.splitlines()[1]
    assert f"| 784-512-512-10 | 0.0030 | {EARLY_SAMPLES:.4f} |" in section.partition("*fashion")[0]
