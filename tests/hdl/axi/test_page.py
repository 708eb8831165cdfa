"""The worked example of docs/reference/axi.md: its words are the driver's, its answers the golden model's."""

from synflip.devices.accelerator import Accelerator
from synflip.spec.geometry import Geometry
from synflip.spec.lfsr import seed_state
from synflip.spec.memory_map import Region, address, energy_offset, register
from synflip.uncertainty.soft_votes import SoftTable

from tests.hdl.axi.page import GEOMETRY, SEED, example
from tests.hdl.helpers import Recorder


def test_it_prints_what_the_page_says():
    assert example().printed == example().said
    assert tuple(example().names["SEED_STATE"]) == seed_state(SEED)
    assert example().names["WEIGHT_DEPTH"] == GEOMETRY.weight_depth


def test_its_words_are_those_of_the_driver():
    transport = Recorder(GEOMETRY)
    device = Accelerator(transport)
    device.load(example().model)
    device.infer(example().pixels, example().names["SAMPLES"], SEED)
    mine = {
        place + index: word for place, words in example().names["writes"] for index, word in enumerate(words)
    }
    written = dict(transport.order)
    assert {place: written[place] for place in mine} == mine
    more = written.keys() - mine.keys()  # the driver fills the room behind an entry's words
    assert more and all(place >> 24 == Region.WEIGHTS and place % 4 == 3 for place in more)
    assert not any(written[place] for place in more)


def test_its_words_of_soft_votes_are_those_of_the_driver():
    """What the page says of region 14, written out."""
    geometry = Geometry(16, 2, bits=4, weight_depth=256, image_slots=3, result_depth=5, soft_classes=7)
    transport = Recorder(geometry)
    tables = SoftTable.of(30.0, 2)
    device = Accelerator(transport)
    transport.order.clear()
    device.write_tables(tables)
    depth = 128  # the power of two from max(16 * 7 + 1, 64) on
    filled = [*tables.logarithm.tolist()] + [int(tables.logarithm[-1])] * (depth - len(tables.logarithm))
    filled += [*tables.exponential.tolist()] + [0] * (64 - len(tables.exponential))
    assert transport.order == [
        *enumerate(filled, address(Region.SOFT)), (register("SOFT_SHIFT"), tables.shift),
    ]  # fmt: skip
    assert energy_offset(geometry) == 8  # from max(5, 2 * 3) on
    assert tables.fraction <= 8 and tables.fraction - tables.precision == 4


def test_its_answers_are_those_of_the_golden_model():
    golden = example().golden()
    assert example().answers == [
        (address(Region.USED), golden.used.tolist()),
        (address(Region.VOTES), golden.votes[0].tolist()),
        (address(Region.SUMS), golden.logit_sums[0].astype("<i8").view("<u4").tolist()),
    ]
    assert [(place, len(words)) for place, words in example().answers] == example().names["reads"]
    assert golden.votes.min() > 0  # both classes win, so that neither the coins nor the seeds are in vain
