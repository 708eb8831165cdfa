"""The accelerator with soft votes in Verilator against the golden model, and what its driver sends."""

import numpy as np
import pytest
from synflip.devices import results
from synflip.inference.plan import logged, soft_on_chip
from synflip.inference.request import InferenceRequest
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import OFFSET_BITS, Region, extent
from synflip.uncertainty.soft_votes import SoftTable
from synflip_sim.simulators.verilator import open_verilator

from tests.simulators.test_verilator import check, images, network

pytestmark = pytest.mark.simulator


def small(lanes: int, banks: int, soft_classes: int, **other: int) -> Geometry:
    """Memories for about 100 rows."""
    return Geometry(
        lanes,
        banks,
        bits=2,
        activation_bits=4,
        weight_depth=256 // banks,
        event_depth=512 // banks,
        key_depth=128 // banks,
        bias_depth=128 // banks,
        soft_classes=soft_classes,
        **other,
    )


# Results that are no power of two, runs of at most 15 samples; one image at a time, classes in two tiles.
GEOMETRIES = [
    small(16, 2, 10, image_slots=5, result_depth=90, log_depth=300, margin_depth=20, sample_bits=4),
    small(16, 1, 20, image_slots=1, result_depth=32, log_depth=900, margin_depth=16, key_halves=1),
]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(GEOMETRIES[0], id="16x2"),
        pytest.param(GEOMETRIES[1], id="16x1", marks=pytest.mark.nightly),
    ],
)
def device(request):
    with open_verilator(request.param, say=lambda text: None) as accelerator:
        assert accelerator.geometry == request.param
        yield accelerator


@pytest.mark.parametrize("classes", [1, 2, 3, 5, 10])
@pytest.mark.parametrize("early", [False, True])
def test_sums_of_soft_votes_and_energies(device, classes, early):
    """Short passes, one behind the other; batches that take turns, runs of some of the samples."""
    rng = np.random.default_rng(classes)
    model = network((8, classes), 2, 4, rng)
    pixels = images(2 * device.geometry.image_slots + 1, model, rng)
    margins = rng.integers(1, 5, 12) if early else None
    for samples, logits in ((12, False), (12, True), *([] if early else [(40, False)])):
        asked = InferenceRequest(model, pixels, samples, 1, soft=SoftTable.of(30.0, classes))
        assert soft_on_chip(asked, device.geometry) and not logged(asked, device.geometry)
        check(device, model, pixels, samples, 1, margins if samples == 12 else None, logits, asked.tables)


def test_hidden_layers(device):
    rng = np.random.default_rng(4)
    model = network((20, 30, 12, 7), 2, 4, rng, shift=2)
    pixels = images(2 * device.geometry.image_slots, model, rng)
    result = check(device, model, pixels, 9, 1, logits=False, soft=SoftTable.of(40.0, 7))
    assert len(np.unique(result.soft_votes)) > 4 and np.ptp(result.energy_sums) > 0


def test_tables_one_after_the_other(device):
    """Whatever a run leaves in the tables does not matter to the next."""
    rng = np.random.default_rng(5)
    model = network((8, 4), 2, 4, rng)
    pixels = images(2, model, rng)
    steep = SoftTable(0, 8, 4, rng.integers(0, 257, 63) * (np.arange(63) < 62), rng.integers(0, 30, 7))
    flat = SoftTable(31, 4, 0, np.array([16, 0]), np.array([2**31 - 1]))
    for table in (steep, SoftTable.of(30.0, 4), flat, SoftTable.of(3.0, 4, fraction=6, precision=2), steep):
        assert soft_on_chip(InferenceRequest(model, pixels, 1, 1, soft=table), device.geometry)
        check(device, model, pixels, 5, 1, logits=False, soft=table)


def test_what_the_accelerator_has_no_room_for_is_made_by_the_host(device):
    rng = np.random.default_rng(6)
    most = device.geometry.soft_classes
    model = network((8, 4), 2, 4, rng)
    wide = network((8, most + 1), 2, 4, rng)
    for network_, table in (
        (wide, SoftTable.of(30.0, most + 1)),
        (model, SoftTable.of(30.0, 4, entries=65)),
        (model, SoftTable.of(30.0, 4, fraction=9, precision=5)),
        (model, SoftTable.of(30.0, 4, precision=3)),
    ):
        pixels = images(2, network_, rng)
        request = InferenceRequest(network_, pixels, 3, 1, soft=table)
        assert not soft_on_chip(request, device.geometry) and logged(request, device.geometry)
        check(device, network_, pixels, 3, 1, logits=False, soft=table)


def test_no_logits_go_over_the_link(device, monkeypatch):
    rng = np.random.default_rng(7)
    model = network((8, 4), 2, 4, rng)
    read = []
    transport = device.transport
    plain = transport.read
    monkeypatch.setattr(
        transport, "read", lambda place, count: read.append(place >> OFFSET_BITS) or plain(place, count)
    )
    check(device, model, images(2, model, rng), 6, 1, logits=False, soft=SoftTable.of(30.0, 4))
    assert Region.SOFT in read and Region.LOG not in read


def test_words_over_the_link() -> None:
    """The numbers of docs/explanation/uncertainty.md."""
    geometry = Geometry(16, 2, soft_classes=10)
    assert results.place(Region.SOFT, 0, 1, 10)[1] + 2 == 18
    assert extent(Region.SOFT, geometry, write=True) + 1 == 321


def test_the_hosts_keys(device):
    rng = np.random.default_rng(8)
    model = network((8, 4), 2, 4, rng)
    pixels = images(2, model, rng)
    device.load(model)
    keys = rng.integers(0, 1 << 63, (6, 8), dtype=np.uint64)
    have = device.infer(pixels, 6, 0, keys=keys, soft=SoftTable.of(30.0, 4))
    want = device.infer(pixels, 6, 0, keys=keys, logits=True, soft=SoftTable.of(30.0, 4, entries=65))
    assert (have.logit_sums == want.logit_sums).all()
    table = SoftTable.of(30.0, 4)
    votes, energies = table.counts(want.logits)
    assert (have.soft_votes == votes.sum(0)).all() and (have.energy_sums == energies.sum(0)).all()
