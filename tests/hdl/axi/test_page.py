"""The worked example of docs/reference/axi.md: its words are the driver's, its answers the golden model's."""

import numpy as np
from synflip.devices.accelerator import Accelerator
from synflip.spec.lfsr import seed_state
from synflip.spec.memory_map import MAGIC, REGISTERS, VERSION, Region, address, register

from tests.hdl.axi.page import GEOMETRY, SEED, example


class Recorder:
    """A transport that keeps the words that are written, and is never busy."""

    def __init__(self):
        self.words = {register(name): getattr(GEOMETRY, name.lower(), 0) for name in REGISTERS}
        self.words |= {register("MAGIC"): MAGIC, register("VERSION"): VERSION}
        self.written = {}

    def write(self, place, words):
        self.written |= {place + index: int(word) for index, word in enumerate(words)}

    def read(self, place, count):
        return np.array([self.words.get(place + index, 0) for index in range(count)], dtype=np.uint32)

    def wait(self):
        pass

    def close(self):
        pass


def test_it_prints_what_the_page_says():
    assert example().printed == example().said
    assert tuple(example().names["SEED_STATE"]) == seed_state(SEED)
    assert example().names["WEIGHT_DEPTH"] == GEOMETRY.weight_depth


def test_its_words_are_those_of_the_driver():
    transport = Recorder()
    device = Accelerator(transport)
    device.load(example().model)
    device.infer(example().pixels, example().names["SAMPLES"], SEED)
    mine = {
        place + index: word for place, words in example().names["writes"] for index, word in enumerate(words)
    }
    assert {place: transport.written[place] for place in mine} == mine
    more = transport.written.keys() - mine.keys()  # the driver fills the room behind an entry's words
    assert more and all(place >> 24 == Region.WEIGHTS and place % 4 == 3 for place in more)
    assert not any(transport.written[place] for place in more)


def test_its_answers_are_those_of_the_golden_model():
    golden = example().golden()
    assert example().answers == [
        (address(Region.USED), golden.used.tolist()),
        (address(Region.VOTES), golden.votes[0].tolist()),
        (address(Region.SUMS), golden.logit_sums[0].astype("<i8").view("<u4").tolist()),
    ]
    assert [(place, len(words)) for place, words in example().answers] == example().names["reads"]
    assert golden.votes.min() > 0  # both classes win, so that neither the coins nor the seeds are in vain
