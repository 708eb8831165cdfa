"""How much of a serial line carries data, in the time of the simulated line: the same on every machine.

The numbers in docs/reference/uart.md are these: pytest -s tests/devices/test_throughput.py
"""

import re

import numpy as np
import pytest
from synflip.devices.framing import Replies, request
from synflip.spec.frames import BAUD, MAX_WORDS, NUMBER_BITS, Command, Status
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import Region, address
from synflip_sim.serial.pty import SerialBench, SerialLine, build

from tests.docs.pages import ROOT

pytestmark = [pytest.mark.simulator, pytest.mark.nightly]

GEOMETRY = Geometry(
    16, 2, bits=4, weight_depth=256, event_depth=256, key_depth=64, bias_depth=64, image_slots=8, log_depth=64
)
LINE = SerialLine(divisor=4, silence_bits=512, queued=False)
BITS = 10  # of a byte on the line
ADAPTER = 0.002  # seconds that a USB adapter needs, there and back
ONES = 32  # words written one by one
IMAGE = 196  # words of 784 pixels
PLACE = address(Region.WEIGHTS)
PAGE = ROOT / "docs/reference/uart.md"


class Host:
    """Asks, waits for the answer, asks again; each time ``pause`` bytes' time goes by on a silent line.

    time: since the beginning, in bytes' times.
    """

    def __init__(self, bench, pause):
        self.bench, self.pause, self.time, self.number = bench, pause, 0, 0
        self.replies = Replies()

    def run(self, bytes_):
        self.bench.run(bytes_ * BITS * LINE.divisor)
        self.time += bytes_

    def ask(self, command, *other):
        self.bench.put(request(1 << NUMBER_BITS | self.number, command, *other))
        self.number += 1
        while not (answers := list(self.replies.feed(self.bench.take()))):
            self.run(1)
        assert [reply.status for reply in answers] == [Status.OK]
        self.run(self.pause)

    def write(self, words, burst):
        """Bytes' times a word."""
        start = self.time
        for first in range(0, len(words), burst):
            part = words[first : first + burst]
            self.ask(Command.WRITE, PLACE + first, len(part), part)
        return (self.time - start) / len(words)


def on_the_page(column):
    """Of the table in PAGE the shares of one column, and how many times as fast frames are."""
    text = " ".join(PAGE.read_text().split())
    table = text[text.index("| words a frame |") :]
    shares = [
        float(row[column]) for row in re.findall(r"\| \d+, [^|]+ \| ([\d.]+) % \| ([\d.]+) % \|", table)
    ]
    times = re.search(r"are ([\d.]+) times as fast as single words, with the adapter ([\d.]+) times", text)
    return shares, float(times[1 + column])


@pytest.mark.parametrize(("column", "pause"), [(0, 0), (1, ADAPTER)], ids=["bare", "adapter"])
def test_writing_in_bulk(column, pause, capsys):
    words = np.random.default_rng(1).integers(0, 1 << 32, 2 * MAX_WORDS, dtype=np.uint32)
    bench = SerialBench(build(GEOMETRY, LINE, lambda text: None), LINE)
    host = Host(bench, round(pause * BAUD / BITS))
    host.ask(Command.HELLO)
    one_by_one = host.write(words[:ONES], 1)
    image, bulk = host.write(words[:IMAGE], IMAGE), host.write(words, MAX_WORDS)
    bench.close()
    shares, times = [400 / each for each in (one_by_one, image, bulk)], one_by_one / bulk
    with capsys.disabled():
        print(
            f"\n{pause * 1000:g} ms of adapter: data is {shares[0]:.2f} % of the line's time word by word, "
            f"{shares[1]:.1f} % in frames of {IMAGE} words, {shares[2]:.1f} % in frames of {MAX_WORDS}, "
            f"{times:.1f} times as fast"
        )
    said, said_times = on_the_page(column)
    assert said == pytest.approx(shares, rel=0.01)
    assert said_times == pytest.approx(times, rel=0.01)
