"""The AXI front end in Verilator, driven by the bus models of cocotbext-axi in testbenches/axi.py."""

import json

import numpy as np
import pytest
from cocotb_tools.check_results import get_results
from synflip.devices.accelerator import Accelerator
from synflip.golden.cpu import Golden
from synflip.inference.result import Result
from synflip.spec import memory_map
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import OFFSET_BITS, REGISTERS, Region, address, energy_offset, register
from synflip.uncertainty.soft_votes import SoftTable
from synflip_hdl.export.verilog import convert_axi

from tests.hdl.front_end import build
from tests.networks import random_network

pytestmark = pytest.mark.simulator

GEOMETRY = Geometry(
    16,
    2,
    bits=4,
    weight_depth=256,
    event_depth=64,
    key_depth=64,
    bias_depth=64,
    image_slots=4,
    log_depth=512,
    soft_classes=20,
)
SIZES, SAMPLES, SEED = (20, 24, 19), 5, 11  # two tiles in each layer, 19 classes


class DryRun:
    """A transport that keeps what a driver does, and answers what the hardware should, by the golden model.

    calls: [kind, word address, words]. kind: write, read (words: the answer, None where anything may come) or
        poll (read until it is 0). runs: the golden model's results.
    """

    def __init__(self, golden, pixels, margin, soft) -> None:
        self.calls: list[tuple[str, int, list[int | None]]] = []
        self.runs: list[Result] = []
        self.golden, self.waiting, self.margin, self.soft = golden, pixels, margin, soft
        self.words = {register(name): getattr(GEOMETRY, name.lower(), None) for name in REGISTERS}
        self.words |= {register("MAGIC"): memory_map.MAGIC, register("VERSION"): memory_map.VERSION}
        self.words |= {register("STATUS"): 0, register("CYCLES_HIGH"): 0}

    def write(self, place, words):
        self.calls.append(("write", place, words.tolist()))
        if place >> OFFSET_BITS == Region.REGISTERS:
            self.words[place] = int(words[0])
        if place == register("CONTROL"):
            self.run()

    def run(self):
        """Put the results of the next images where the run leaves them."""
        first, count = self.words[register("FIRST_SLOT")], self.words[register("IMAGES")]
        pixels = self.waiting[:count]
        result = self.golden.infer(pixels, SAMPLES, SEED, self.margin, logits=True, soft=self.soft)
        self.waiting = self.waiting[count:]
        self.runs.append(result)
        self.words[register("CYCLES_LOW")] = result.cycles
        for index in range(count):
            slot = first + index
            self.put(Region.USED, slot, [result.used[index]])
            place = slot << self.words[register("CLASS_SHIFT")]
            self.put(Region.VOTES, place, result.votes[index])
            self.put(Region.SUMS, 2 * place, halves(result.logit_sums[index]))
            if result.soft_votes is not None and result.energy_sums is not None:
                self.put(Region.SOFT, place, result.soft_votes[index])
                energy = halves(result.energy_sums[index])
                self.put(Region.SOFT, energy_offset(GEOMETRY) + 2 * slot, energy)
        self.put(Region.LOG, 0, words_of(logged(result)))

    def put(self, region, offset, words):
        self.words |= {address(region, offset + index): int(word) for index, word in enumerate(words)}

    def read(self, place, count):
        words = [self.words.get(place + index) for index in range(count)]
        self.calls.append(("poll" if place == register("STATUS") else "read", place, words))
        return np.array([word or 0 for word in words], dtype=np.uint32)

    def wait(self):
        pass

    def close(self):
        pass


def halves(numbers) -> np.ndarray:
    """Two words of each number of 64 bits, the low one first."""
    return np.atleast_1d(numbers).view(np.uint32)


def logged(result: Result) -> np.ndarray:
    """int32 [passes, classes]: logits in the order in which they are made."""
    assert result.logits is not None
    return result.logits[np.arange(len(result.logits))[:, None] < result.used]


def words_of(values: np.ndarray) -> list[int]:
    return np.ascontiguousarray(values, dtype=np.int32).view(np.uint32).reshape(-1).tolist()


def plan_of_an_inference(images: int, margin, logits: bool, soft: bool) -> dict:
    """What the bench replays: the driver's calls, and the packets that m_axis gives."""
    tables = SoftTable.of(30.0, SIZES[-1]) if soft else None
    rng = np.random.default_rng(3)
    model = random_network(rng, SIZES, GEOMETRY.bits)
    pixels = rng.integers(0, 256, (images, SIZES[0])).astype(np.uint8)
    golden = Golden(GEOMETRY)
    golden.load(model)
    wanted = golden.infer(pixels, SAMPLES, SEED, margin, logits, soft=tables)
    transport = DryRun(golden, pixels, margin, tables)
    driver = Accelerator(transport)
    driver.load(model)
    result = driver.infer(pixels, SAMPLES, SEED, margin, logits, soft=tables)
    for name in ("votes", "logit_sums", *(("soft_votes", "energy_sums") if soft else ())):
        np.testing.assert_array_equal(getattr(result, name), getattr(wanted, name))
    assert result.cycles == wanted.cycles
    packets = [words_of(row) for run in transport.runs for row in logged(run)]
    return {"calls": transport.calls, "packets": packets}


def run(runner, folder, *names, plan=None, reset="active"):
    results = runner.test(
        test_module="synflip_sim.testbenches.axi",
        hdl_toplevel="synflip_axi",
        hdl_toplevel_lang="verilog",
        testcase=names,
        build_dir=folder,
        test_dir=folder,
        seed=1,
        extra_env={"AXI_PLAN": str(plan), "RESET": reset},
        results_xml=str(folder / "results.xml"),
    )
    assert get_results(results) == (len(names), 0)


def test_axi(tmp_path, subtests):
    """One simulator for all benches: it takes longer to build than they run."""
    runner = build(tmp_path, convert_axi(GEOMETRY), "synflip_axi")
    with subtests.test("accesses"):
        run(
            runner,
            tmp_path,
            "access",
            "strobes",
            "packets",
            "bulk",
            "waiting_stream",
            "lost_passes",
            "resets",
        )
    with subtests.test("resets", reset="idle"):  # which has one in the middle of a run
        run(runner, tmp_path, "resets", reset="idle")
    margin = np.full(SAMPLES, 2)  # one image leaves after five samples, three after four
    plans = {
        "kept": ("active", 4, None, True, False),
        "early": ("idle", 4, margin, True, True),
        "turns": ("idle", 7, None, False, True),
    }
    for name, (reset, *request) in plans.items():
        with subtests.test("inference", plan=name, reset=reset):
            plan = tmp_path / "plan.json"
            plan.write_text(json.dumps(plan_of_an_inference(*request)))
            run(runner, tmp_path, "inference", plan=plan, reset=reset)
