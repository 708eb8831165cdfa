"""What the self-test is made of: probes that see every bit, models that fit; and the command's ends."""

import json
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pytest
from synflip.cli import app
from synflip.devices.transport import BusError
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.inference.parts import cut
from synflip.inference.plan import check_fit
from synflip.randomness.mtj_model import JunctionModel
from synflip.spec.coins import key_words, threshold
from synflip.spec.geometry import Geometry
from synflip.spec.sizes import ROW_ALIGN
from synflip.verification import selftest
from synflip.verification.probes import (
    deep_images,
    deep_model,
    edges,
    make_probes,
    parted_model,
    probe_image,
    probe_slots,
    small_part,
)
from synflip_hdl.boards.catalogue import BOARDS
from synflip_sim.simulators.verilator import open_verilator

from tests.devices.stand_in import StandIn

OF_BOARDS = {board.geometry: name for name, board in BOARDS.items()}  # each once
GEOMETRIES = [
    *OF_BOARDS,
    Geometry(16, 1, bits=1),
    Geometry(128, 8, bits=8),
    Geometry(32, 4, bits=16, activation_bits=3),
]
JUNCTIONS = Geometry(16, 2, bits=4, image_slots=4, devices=5)
NAMES = [*OF_BOARDS.values(), "16x1-k1", "128x8-k8", "32x4-k16"]


def test_edges():
    assert edges(4096, 8)[:4] == [0, 8, 16, 32]
    assert edges(4096, 8)[-2:] == [2048, 4088]
    assert edges(20, 8) == [0, 8]
    assert edges(21, 8) == [0, 8]
    assert edges(24, 8) == [0, 8, 16]
    assert edges(8, 8) == edges(9, 8) == [0]
    assert edges(1024, 1) == [0, *(1 << bit for bit in range(10)), 1023]
    for depth in range(1, 200):
        for size in (1, 2, 4, 8, 16):
            places = edges(depth, size) if depth >= size else []
            assert all(place + size <= depth for place in places)
            assert all(b - a >= size for a, b in pairwise(places))


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=NAMES)
def test_every_bit_of_an_entry_is_seen(geometry):
    """Stuck at 0 or at 1, a bit of a probability word or a sign of any lane changes a coin that counts."""
    bits, unseen, looked, probes = geometry.bits, 0, 0, make_probes(geometry)
    seen = np.zeros((bits + 1, 2, probes[0].model.outputs[0]), dtype=bool)
    for probe in probes:
        layer = probe.model.layers[0]
        words = np.stack([key_words(keys, layer.outputs, bits).T for keys in probe.keys])
        heads = words < threshold(layer.q, bits)
        for bit in range(bits):
            flipped = words < threshold(layer.q ^ (1 << bit), bits)
            found = (heads != flipped).any(0)
            unseen, looked = unseen + (~found).sum(), looked + found.size
            for stuck in (0, 1):
                seen[bit, stuck] |= (found & ((layer.q >> bit & 1) != stuck)).any(1)
        for stuck in (0, 1):
            seen[bits, stuck] |= (heads.any(0) & (layer.sign != stuck)).any(1)
    # Of more lanes and bits, a key's 64 bits bring too few to an edge at once.
    least = 1 if geometry.lanes * bits <= 256 else 0.95
    assert seen.mean() >= least, np.argwhere(~seen)
    if geometry.lanes * bits <= 48:  # all lanes of a key can be at an edge
        assert unseen < 0.05 * looked


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=NAMES)
def test_probes_reach_the_ends_of_the_memories(geometry):
    probes = make_probes(geometry)
    assert probes[0].weight_base == probes[0].bias_base == 0
    assert probes[0].model.outputs == (geometry.lanes,)
    size = ROW_ALIGN // geometry.banks
    assert geometry.weight_depth - probes[-1].weight_base - size < size
    groups = geometry.lanes // geometry.banks
    assert geometry.bias_depth - max(probe.bias_base for probe in probes) < 2 * groups
    for slot in probe_slots(geometry):
        assert probe_image(slot, geometry.activation_bits).all()


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=NAMES)
def test_the_deep_model_is_alive(geometry):
    """It fits, it has the layers that there are, and none of them is silent or saturated."""
    model = deep_model(geometry)
    check_fit(model, geometry)
    assert len(model.layers) == geometry.layer_depth
    assert model.outputs[0] > geometry.lanes
    golden = Golden(geometry)
    golden.load(model)
    x = model.activations(deep_images(model, 2))
    for layer, (inputs, _) in enumerate(golden.layers(selftest.torch.from_numpy(x), golden.coins(1, 0))):
        values = inputs.numpy()
        assert (values != 0).sum() >= 4 and (values < model.activation_max).any(), layer


class Wrong(StandIn):
    """Its taps do not turn with the tiles that lead."""

    @contextmanager
    def run_slots(self, *run):
        lead, self.lead = self.lead, 0
        with super().run_slots(*run):
            yield
        self.lead = lead
        self.z = np.pad(self.z, ((0, 0), (lead * self.geometry.lanes, 0)))


@pytest.mark.parametrize("geometry", [*GEOMETRIES, JUNCTIONS], ids=[*NAMES, "junctions"])
def test_the_step_of_parts(geometry):
    """It has parts of rows and of tiles, and sees taps that do not turn."""
    parts = cut(parted_model(geometry), small_part(geometry)).parts
    assert max(len(part.rows) for part in parts) == 8 and any(part.lead or part.turn for part in parts)
    said = selftest.SelfTest(StandIn(geometry)).parts()
    assert f"in {len(parts)} parts, 2 images x 2 samples" in said
    if geometry.bits > 1 and any(part.lead for part in parts):  # coins of one bit are certain
        with pytest.raises(selftest.Difference, match="differ; first"):
            selftest.SelfTest(Wrong(geometry)).parts()


def test_tiny_accelerators():
    tiny = Geometry(16, 1, weight_depth=40, key_depth=24, bias_depth=16, layer_depth=1, result_depth=16)
    assert deep_model(tiny).shape == "24-10"
    assert len(make_probes(tiny)) == 4
    with pytest.raises(SynflipError, match="does not fit"):
        make_probes(Geometry(16, 1, key_depth=4))


def test_a_device_that_cannot_be_opened(tmp_path, capsys):
    out = tmp_path / "r.json"
    port = str(tmp_path / "none")
    assert app.main(["selftest", port, "--json", str(out)]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("identity ") and "FAIL" in said.out and "cannot be opened" in said.out
    assert said.err == f"error: the self-test of {port} failed: identity\n"
    assert not json.loads(out.read_text())["passed"]
    assert app.main(["selftest", "golden:16x1"]) == 1
    assert "compared with itself" in capsys.readouterr().out


@pytest.mark.simulator
def test_junctions():
    """Their keys are replayed; with too few of them the steps that need them fail, and say why."""
    with open_verilator(JUNCTIONS, say=lambda text: None, junctions=JunctionModel(5, seed=3)) as device:
        report = selftest.selftest(device)
    assert not report.failed, report
    assert any("5 of 5 tunnel junctions work" in step.found for step in report.steps)
    broken = JunctionModel(5, seed=4, stuck={0: (0, 1), 3: (0, 0), 1: (0, 0)})
    with open_verilator(JUNCTIONS, say=lambda text: None, junctions=broken) as device:
        report = selftest.selftest(device)
    assert report.failed == ["key source", "key memory"]
    for step in report.steps:
        assert step.passed or "2 of 5 tunnel junctions work, 3 must; stuck: 0, 1, 3" in step.found


class Silent:
    """A transport that answers nothing."""

    def read(self, address, count):
        raise BusError("no answer from nowhere after 10 tries")

    write = read


class Gone:
    """An accelerator that goes away after it was opened."""

    def __init__(self):
        self.transport, self.name, self.geometry = Silent(), "nowhere", Geometry(16, 1)

    def read_register(self, name):
        return self.transport.read(0, 1)


def test_a_device_that_goes_away_ends_the_test():
    report = selftest.selftest(Gone())
    assert [step.name for step in report.steps] == report.failed == ["identity"]
    assert report.steps[0].found == "no answer from nowhere after 10 tries"
