"""Networks in parts on a stand-in in plain Python: every kind of part, judged by the slow reading."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synflip.devices import parted
from synflip.devices.accelerator import Accelerator
from synflip.devices.pool import Pool
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.inference import parts
from synflip.inference.device import Device
from synflip.inference.parts import Parts, cut
from synflip.inference.request import InferenceRequest, Progress
from synflip.inference.result import Result
from synflip.spec import lfsr
from synflip.spec.convolution import Convolution
from synflip.spec.geometry import Geometry
from synflip.spec.model import CompiledModel
from synflip.verification.cases import convolutional_model, draw_geometry

from tests.devices.stand_in import StandIn
from tests.golden.test_cpu import equal, expected, images
from tests.networks import convolution_layer, random_layers, random_network, small_convolutional_network

#: What each cuts 40-100-30-7 into: see ``KINDS``.
WIDE = {"bits": 5, "image_slots": 3}
GEOMETRIES = {
    "several layers": Geometry(16, 2, layer_depth=2, **WIDE),
    "one layer": Geometry(16, 2, layer_depth=1, **WIDE),
    "some outputs": Geometry(16, 1, layer_depth=1, log_depth=1024, weight_depth=120, **WIDE),
    "some rows": Geometry(16, 1, key_depth=24, **WIDE),
    "tiles before their own": Geometry(16, 1, weight_depth=120, result_depth=64, log_depth=112, **WIDE),
    "sums instead of the log": Geometry(16, 1, layer_depth=1, result_depth=32, log_depth=16, **WIDE),
    "keys turned by the host": Geometry(16, 1, bias_depth=48, layer_depth=1, **WIDE),
}
NETWORK = random_network(np.random.default_rng(3), (40, 100, 30, 7), bits=4)
PIXELS = images(NETWORK, 5, draw=2)


def infer(geometry: Geometry, model: CompiledModel, pixels: np.ndarray, *request, **more) -> Result:
    """Through the parts, on the stand-in."""
    asked = InferenceRequest(model, pixels, *request, **more)
    return parted.run(StandIn(geometry), cut(model, geometry), asked)


def kinds(found: Parts) -> set[str]:
    model = found.model
    names = set()
    for part in found.parts:
        few_rows = len(part.rows) < model.rows[part.layers.start]
        few_outputs = len(part.outputs) < model.outputs[part.layers[-1]]
        names |= {
            "several layers" if len(part.layers) > 1 else "one layer" * (not few_rows and not few_outputs),
            "some rows" * few_rows,
            "some outputs" * few_outputs,
            "tiles before their own" * (part.lead > 0),
            "keys turned by the host" * (part.turn > 0),
            "sums instead of the log" * (not part.logged),
        }
    return names - {""}


@pytest.mark.parametrize("kind", GEOMETRIES)
def test_parts_of_every_kind(kind: str) -> None:
    geometry = GEOMETRIES[kind]
    assert kind in kinds(cut(NETWORK, geometry))
    x = NETWORK.activations(PIXELS)
    equal(infer(geometry, NETWORK, PIXELS, 3, 9, logits=True), expected(NETWORK, x, 3, 9))
    margins = [2, 1, 2, 2, 1]
    early = infer(geometry, NETWORK, PIXELS, 5, 9, margins, logits=True)
    equal(early, expected(NETWORK, x, 5, 9, margins))


class Written(Accelerator):
    """Counts how often a whole model is written; a run of it ends as it begins."""

    class Begun(Exception):
        pass

    written = 0

    def _discover(self) -> Geometry:
        return Geometry(16, 1, margin_depth=4)

    def write_weights(self, *where: object) -> None:
        self.written += 1

    def place(self, *where: object) -> None:
        pass

    def write_settings(self, *settings: object) -> None:
        raise self.Begun


def test_a_model_is_written_again_behind_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Written(None)  # type: ignore[arg-type]
    device.load(NETWORK)
    monkeypatch.setattr(parted, "run", lambda *arguments: None)
    for samples, margin, written in ((2, None, 1), (9, 2, 1), (2, None, 2), (2, None, 2)):
        with nullcontext() if margin else pytest.raises(Written.Begun):
            device.infer(PIXELS, samples, 1, margin)
        assert device.written == written


@given(st.integers(0, 2**32), st.integers(0, 2**64 - 1), st.booleans())
@settings(max_examples=60, deadline=None)
def test_random_networks_on_random_accelerators(draw: int, seed: int, early: bool) -> None:
    rng = np.random.default_rng(draw)
    geometry = draw_geometry(rng)
    if rng.random() < 0.5:
        model = convolutional_model(geometry.bits, geometry.activation_bits, rng)
    else:
        sizes = tuple(int(size) for size in rng.integers(1, 120, rng.integers(2, 6)))
        layers = random_layers(rng, sizes, geometry.bits)
        model = CompiledModel(
            layers, geometry.bits, geometry.activation_bits, (2,) * (len(sizes) - 2),
            tuple(map(str, range(sizes[-1]))), 255,
        )  # fmt: skip
    pixels = images(model, int(rng.integers(0, 6)), draw=draw % 100)
    samples, first = int(rng.integers(1, 8)), 0 if early else int(rng.integers(0, 50))
    margin = rng.integers(0, 3, samples) if early else None
    with Golden(predict=False) as golden:
        golden.load(model)
        want = golden.infer(pixels, samples, seed, margin, logits=True, first=first)
    try:
        have = infer(geometry, model, pixels, samples, seed, margin, logits=True, first=first)
    except SynflipError as error:
        assert "not even in parts" in str(error)
        assert max(geometry.log_depth, geometry.result_depth) < 16
        return
    for name in ("votes", "logit_sums", "used", "logits"):
        np.testing.assert_array_equal(getattr(have, name), getattr(want, name))


@pytest.mark.parametrize(
    "place",
    [
        Convolution((6, 5, 3), (3, 3), pad=(1, 1), pool=(2, 2)),
        Convolution((6, 5, 3), (1, 4), stride=(2, 3), pad=(0, 2)),
        Convolution((7, 7, 1), (7, 2), pad=(3, 5), pool=(3, 2)),
        Convolution((1, 1, 5), (1, 1), pad=(2, 0), stride=(5, 1)),
    ],
)
def test_convolutions(place: Convolution) -> None:
    rng = np.random.default_rng(4)
    layer = convolution_layer(rng, 20, place)
    behind = random_layers(rng, (layer.width, 3))
    model = CompiledModel((layer, *behind), 4, 8, (3,), ("a", "b", "c"), 255)
    pixels = images(model, 3, draw=1)
    for geometry in (Geometry(16, 2), Geometry(16, 1, key_depth=16, log_depth=40, image_slots=2)):
        have = infer(geometry, model, pixels, 2, 5, logits=True)
        equal(have, expected(model, model.activations(pixels), 2, 5))


def test_blocks_of_images_and_samples_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    geometry, margins = GEOMETRIES["some rows"], [2, 1, 2, 2, 1, 1, 1]
    for size in (1, 2000, 9000):
        monkeypatch.setattr(parts, "BLOCK_BYTES", size)
        x = NETWORK.activations(PIXELS)
        equal(infer(geometry, NETWORK, PIXELS, 3, 9, logits=True), expected(NETWORK, x, 3, 9))
        early = infer(geometry, NETWORK, PIXELS, 7, 9, margins, logits=True)
        equal(early, expected(NETWORK, x, 7, 9, margins))


@pytest.mark.parametrize("kind", ["some rows", "keys turned by the host"])
def test_keys_of_the_host(kind: str) -> None:
    """The keys of another seed, given and kept: they are the whole network's, whatever the parts."""
    rows = 40 + 104 + 32
    keys = lfsr.keys(77, 0, 3 * rows).reshape(3, rows)
    have = infer(GEOMETRIES[kind], NETWORK, PIXELS, 3, 9, logits=True, keys=keys, keep_keys=True)
    equal(have, expected(NETWORK, NETWORK.activations(PIXELS), 3, 77))
    np.testing.assert_array_equal(have.keys, keys)
    made = infer(GEOMETRIES[kind], NETWORK, PIXELS, 3, 77, keep_keys=True)
    np.testing.assert_array_equal(made.keys, keys)


def test_weights_that_fit_side_by_side_are_written_once() -> None:
    model = small_convolutional_network()
    written = []

    class Counting(StandIn):
        def write_weights(self, model: CompiledModel, weight_base: int = 0, bias_base: int = 0) -> None:
            written.append(weight_base)
            super().write_weights(model, weight_base, bias_base)

    for geometry, count in ((Geometry(16, 1), 3), (Geometry(16, 1, weight_depth=24), 9)):
        written.clear()
        request = InferenceRequest(model, images(model, 2, draw=1), 7, 1, margin=9)  # blocks of 1, 2, 4
        parted.run(Counting(geometry), cut(model, geometry), request)
        assert len(written) == count


def test_progress_goes_up_to_all_of_it() -> None:
    seen: list[tuple[int, int]] = []
    request = InferenceRequest(NETWORK, PIXELS, 4, 1, margin=1)
    geometry = GEOMETRIES["some rows"]
    parted.run(StandIn(geometry), cut(NETWORK, geometry), request, lambda *step: seen.append(step))
    assert [total for _, total in seen] == [20] * len(seen)
    done = [done for done, _ in seen]
    assert done == sorted(done) and done[-1] == 20 and len(set(done)) > 2


def test_cycles_that_wait_for_the_host_are_not_told() -> None:
    counted = infer(GEOMETRIES["some rows"], NETWORK, PIXELS, 1, 1)
    assert counted.cycles > 0
    assert infer(GEOMETRIES["keys turned by the host"], NETWORK, PIXELS, 1, 1).cycles == -1


class InParts(Device):
    """An accelerator that has no room for a model, and runs it on the stand-in."""

    def __init__(self, geometry: Geometry) -> None:
        self.name, self.geometry = geometry.name, geometry

    def prepare(self, model: CompiledModel) -> None:
        self.model = model

    def run(self, request: InferenceRequest, progress: Progress | None = None) -> Result:
        runs = cut(request.model, self.geometry)
        return parted.run(StandIn(self.geometry), runs, request, progress)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("margin", [None, 2])
def test_a_pool_of_accelerators_that_cut_a_network_in_other_parts(margin: int | None) -> None:
    model = replace(small_convolutional_network(), source={"logit_scale": 90.0})
    pixels = images(model, 9, draw=3)
    members = [Geometry(16, 2), Geometry(16, 1, key_depth=8, image_slots=2)]
    with Pool([(f"{number}", InParts(geometry)) for number, geometry in enumerate(members)]) as pool:
        pool.load(model)
        have = pool.infer(pixels, 6, 4, margin, logits=True, soft=True)
    with Golden(predict=False) as golden:
        golden.load(model)
        want = golden.infer(pixels, 6, 4, margin, logits=True, soft=True)
    for name in ("votes", "logit_sums", "used", "logits", "soft_votes", "energy_sums"):
        np.testing.assert_array_equal(getattr(have, name), getattr(want, name), name)
