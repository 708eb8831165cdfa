"""A pool of a simulator and a board on a serial line, whose cable is pulled in the middle."""

import time
import warnings
from contextlib import ExitStack

import pytest
from synflip.devices.registry import open_device
from synflip.errors import DeviceWarning
from synflip.golden.cpu import Golden
from synflip_sim.serial.pty import PtyDevice

from tests.devices.test_serial import BAUD, GEOMETRY, LINE, network, pixels
from tests.inference.test_pieces import equal

pytestmark = [pytest.mark.simulator, pytest.mark.nightly]  # a busy machine may take longer than it waits


def test_the_cable_is_pulled_in_the_middle() -> None:
    model, images = network(3), pixels(3, 120)
    with ExitStack() as cable, Golden() as golden:
        golden.load(model)
        board = cable.enter_context(PtyDevice(GEOMETRY, LINE))
        with open_device(f"pool:verilator:16x2,{board.path}@{BAUD}") as pool:
            pool.load(model)
            for _ in range(2):  # both work, and their speeds are measured
                assert equal(pool.infer(images, 4, 1, logits=True), golden.infer(images, 4, 1, logits=True))
            assert not pool.lost
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                have = pool.infer(images, 4, 2, logits=True, progress=lambda done, total: cable.close())
                until = time.monotonic() + 60
                while not pool.lost and time.monotonic() < until:
                    time.sleep(0.01)  # the simulator may have overtaken it before it sees that it is alone
                alone = pool.infer(images, 4, 3)
            assert equal(have, golden.infer(images, 4, 2, logits=True))
            assert equal(alone, golden.infer(images, 4, 3))
            assert list(pool.lost) == [f"{board.path}@{BAUD}"]
            assert [one.category for one in said] == [DeviceWarning]
