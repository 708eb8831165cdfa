"""The accelerator in Verilator against the golden model: votes, sums, samples used, logits, and cycles."""

import re
from dataclasses import replace

import numpy as np
import pytest
import synflip
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synflip.devices.accelerator import Accelerator
from synflip.devices.transport import BusError
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.inference.compare import compare
from synflip.inference.plan import check_fit
from synflip.spec import memory_map
from synflip.spec.cycles import bank_load, ideal_cycles
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import Region
from synflip.spec.model import CompiledModel, Layer
from synflip.spec.sizes import MAX_BITS
from synflip.uncertainty.soft_votes import SoftTable
from synflip_hdl.export.verilog import convert
from synflip_sim.simulators.verilator import open_verilator

from tests.networks import random_layers

pytestmark = pytest.mark.simulator

# Every number of banks; lanes that are no power of two; the ends of k; memories that cut runs short.
GEOMETRIES = [
    Geometry(16, 1, bits=16, activation_bits=5, image_slots=3, log_depth=50, margin_depth=9),
    Geometry(48, 4, bits=3, image_slots=5, result_depth=1024, log_depth=1024),
    Geometry(32, 2, bits=1, image_slots=1),
    Geometry(16, 2, bits=2, activation_bits=4, image_slots=4, key_halves=1),
    Geometry(16, 8, bits=4),
    Geometry(64, 8, bits=4),
]
# The benches of every run have 48x4, too; k = 1 is tried at night only.
AT_NIGHT = (GEOMETRIES[1], GEOMETRIES[2], GEOMETRIES[-1])
EIGHT_BANKS = GEOMETRIES[4]
NAMES = [f"{item.name}-k{item.bits}-{item.key_halves}" for item in GEOMETRIES]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(item, marks=[pytest.mark.nightly] if item in AT_NIGHT else []) for item in GEOMETRIES
    ],
    ids=NAMES,
)
def device(request):
    with open_verilator(request.param, say=lambda text: None) as accelerator:
        yield accelerator


@pytest.fixture(scope="module")
def flagship():
    with open_verilator(GEOMETRIES[-1], say=lambda text: None) as accelerator:
        yield accelerator


@pytest.fixture(scope="module")
def eight_banks():
    with open_verilator(EIGHT_BANKS, say=lambda text: None) as accelerator:
        yield accelerator


def network(sizes, bits, activation_bits, rng, shift=None, always=None) -> CompiledModel:
    layers = random_layers(rng, sizes, bits)
    if always is not None:
        full = (1 << bits) - 1
        layers = tuple(replace(layer, q=np.full_like(layer.q, always * full)) for layer in layers)
    shifts = [int(rng.integers(0, 8)) if shift is None else shift for _ in layers[1:]]
    classes = tuple(str(index) for index in range(sizes[-1]))
    return CompiledModel(layers, bits, activation_bits, tuple(shifts), classes, (1 << activation_bits) - 1)


def images(count, model, rng, density=0.3):
    shape = (count, model.inputs)
    return (rng.integers(0, model.input_max + 1, shape) * (rng.random(shape) < density)).astype(np.uint8)


def check(device: Accelerator, model, pixels, samples, seed, margins=None, logits=True, soft=None):
    """Both devices, and equality of all that they give."""
    golden = Golden(device.geometry)
    golden.load(model)
    device.load(model)
    want = golden.infer(pixels, samples, seed, margins, logits, soft=soft)
    have = device.infer(pixels, samples, seed, margins, logits, soft=soft)
    np.testing.assert_array_equal(have.votes, want.votes)
    np.testing.assert_array_equal(have.logit_sums, want.logit_sums)
    np.testing.assert_array_equal(have.used, want.used)
    if logits:
        np.testing.assert_array_equal(have.logits, want.logits)
    if soft is not None:
        assert (have.logits is None) is not logits
        np.testing.assert_array_equal(have.soft_votes, want.soft_votes)
        np.testing.assert_array_equal(have.energy_sums, want.energy_sums)
    assert have.cycles == want.cycles
    return have


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_random_networks(device, data):
    """One device runs them all, so whatever a run leaves behind must not matter to the next."""
    geometry = device.geometry
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), label="contents"))
    sizes = data.draw(st.lists(st.integers(1, 150), min_size=2, max_size=5), label="sizes")
    sizes[-1] = min(sizes[-1], geometry.log_depth)
    bits = data.draw(st.integers(1, geometry.bits), label="k")
    activation_bits = data.draw(st.integers(1, geometry.activation_bits), label="A")
    model = network(sizes, bits, activation_bits, rng)
    count = data.draw(st.integers(0, 2 * geometry.image_slots + 1), label="images")
    samples = data.draw(st.integers(1, 9), label="samples")
    early = data.draw(st.booleans(), label="early")
    logits = data.draw(st.booleans(), label="logits") and not (early and geometry.log_depth < 9 * sizes[-1])
    margins = rng.integers(0, 5, samples) if early else None
    pixels = images(count, model, rng, data.draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]), label="density"))
    seed = data.draw(st.integers(0, 2**64 - 1), label="seed")
    check(device, model, pixels, samples, seed, margins, logits)


def test_full_batches_take_turns(device):
    rng = np.random.default_rng(1)
    model = network((20, 30, 5), 1, 4, rng)
    result = check(device, model, images(2 * device.geometry.image_slots, model, rng), 7, 1, logits=False)
    assert (result.votes.sum(1) == 7).all()


@pytest.mark.parametrize("margins", [None, [9, 1, 2, 1, 2, 1, 0]])
def test_soft_votes_of_the_log(device, margins):
    """Without the block for them the host makes them of the logits, in as many runs as the log needs."""
    rng = np.random.default_rng(14)
    model = network((20, 30, 5), 1, 4, rng)
    pixels = images(2 * device.geometry.image_slots + 1, model, rng)
    for logits in (False, True):
        check(device, model, pixels, 7, 1, margins, logits, SoftTable.of(60.0, 5))


def test_keys_of_one_half_are_waited_for():
    """With two halves a sample's keys are filled in while another's are read, with one afterwards."""
    rng = np.random.default_rng(11)
    model = network((120, 4), 2, 4, rng)
    pixels = images(2, model, rng)
    cycles = {}
    for halves in (1, 2):
        with open_verilator(replace(GEOMETRIES[3], key_halves=halves), say=lambda text: None) as device:
            cycles[halves] = check(device, model, pixels, 6, 11).cycles
    fill = 120 // GEOMETRIES[3].banks
    assert 6 * fill < cycles[2] < 8 * fill
    assert 6 * (fill + 20) < cycles[1]


def test_the_engine_hardly_waits_for_the_host(eight_banks):
    """The next batch is written, and the last one's results are read, while a batch runs."""
    rng = np.random.default_rng(10)
    model = network((784, 256, 256, 10), 4, 8, rng)
    eight_banks.load(model)
    before = eight_banks.transport.cycles
    result = eight_banks.infer(images(64, model, rng), 4, 10)
    assert result.cycles > 0.9 * (eight_banks.transport.cycles - before)


def test_opened_by_name_a_stream_of_blocks():
    """Blocks of fewer images than a batch, of several batches, of none."""
    rng = np.random.default_rng(13)
    model = network((20, 30, 5), 4, 8, rng)
    pixels = images(60, model, rng)
    with synflip.open_device(f"verilator:{EIGHT_BANKS.name}") as device, Golden(device.geometry) as golden:
        golden.load(model)
        device.load(model)
        blocks = np.split(pixels, (3, 53, 53))
        parts = list(device.stream(iter(blocks), 9, 13, margin=3, logits=True))
        for block, part in zip(blocks, parts, strict=True):
            want = golden.infer(block, 9, 13, 3, logits=True)
            np.testing.assert_array_equal(part.votes, want.votes)
            np.testing.assert_array_equal(part.logits, want.logits)
            np.testing.assert_array_equal(part.runner_up, want.runner_up)
            assert part.cycles == want.cycles


@pytest.mark.parametrize("sizes", [(1, 1), (1, 1024, 3), (8, 1024), (1024, 16), (5, 1, 1, 1, 1, 1, 1, 1, 2)])
@pytest.mark.parametrize("always", [None, 0, 1], ids=["random", "never", "always"])
def test_edge_sizes(eight_banks, sizes, always):
    rng = np.random.default_rng(2)
    model = network(sizes, 4, 8, rng, always=always)
    check(eight_banks, model, images(3, model, rng, density=1.0), 3, 2**64 - 1)


def test_largest_sums_and_shifts(eight_banks):
    """All heads, all of one sign, all activations at their largest: the accumulators come far."""
    rng = np.random.default_rng(3)
    for sign in (0, 1):
        model = network((2048, 64, 4), 4, 8, rng, shift=14, always=1)
        for layer in model.layers:
            layer.sign[:] = sign
        pixels = np.full((2, 2048), 255, dtype=np.uint8)
        result = check(eight_banks, model, pixels, 2, 3)
        assert result.logits is not None and (result.logits[0] != result.logits[0, 0, 0]).any()


def test_narrow_models_on_wide_words():
    """A k-bit model runs on any hardware of at least k bits."""
    with open_verilator(GEOMETRIES[0], say=lambda text: None) as device:
        rng = np.random.default_rng(4)
        for bits in range(1, MAX_BITS + 1):
            model = network((30, 20, 3), bits, 4, rng)
            check(device, model, images(2, model, rng), 3, 4)


def test_early_stopping_leaves_at_the_margin(eight_banks):
    rng = np.random.default_rng(5)
    model = network((64, 40, 10), 4, 8, rng)
    pixels = images(16, model, rng)
    result = check(eight_banks, model, pixels, 12, 5, np.full(12, 3))
    assert len(set(result.used.tolist())) > 1  # the batch did thin out, one image after the other
    top = np.sort(result.votes, axis=1)
    assert ((top[:, -1] - top[:, -2] >= 3) | (result.used == 12)).all()


@pytest.mark.nightly
def test_flagship_is_close_to_ideal(flagship):
    """At most 1.25 times the ideal plus 40 cycles a layer, for one pass and for many."""
    rng = np.random.default_rng(6)
    model = network((784, 512, 512, 10), 4, 8, rng, shift=6)
    for count, samples in ((1, 1), (1, 4), (16, 2)):
        pixels = images(count, model, rng, density=0.2)
        result = check(flagship, model, pixels, samples, 6)
        golden = Golden(flagship.geometry)
        golden.load(model)
        ideal = 0
        for sample in range(samples):
            _, loads = golden.forward(golden_activations(pixels), golden.coins(6, sample), True)
            size = flagship.geometry
            np.testing.assert_array_equal(loads[:, 0], bank_load(pixels != 0, size.banks, size.lanes))
            ideal += ideal_cycles(loads, model.outputs, flagship.geometry.lanes)
        assert ideal < result.cycles <= 1.25 * ideal + 40 * len(model.layers) * count * samples


@pytest.mark.parametrize("sign", [0, 1])
def test_sums_fill_the_narrowest_accumulator(sign):
    """As many rows as there are keys, every pixel at its largest, every coin heads: 56 or -56 in 7 bits."""
    geometry = Geometry(16, 2, bits=1, activation_bits=3, key_depth=4)
    assert geometry.accumulator_bits == 7
    layer = Layer(
        np.ones((10, 8), np.uint16), np.full((10, 8), sign, np.uint8), np.arange(10, dtype=np.int32)
    )
    model = CompiledModel((layer,), 1, 3, (), tuple("0123456789"), 7)
    with open_verilator(geometry, say=lambda text: None) as device:
        result = check(device, model, np.full((1, 8), 7, np.uint8), 2, 1)
    assert result.logits[0, 0].tolist() == [(-56 if sign else 56) + bias for bias in range(10)]


def golden_activations(pixels):
    import torch

    return torch.from_numpy(pixels)


def test_hardware_says_what_it_is(device):
    assert device.geometry in GEOMETRIES


def test_model_that_does_not_fit(eight_banks):
    rng = np.random.default_rng(7)
    wide = network((10, 10), 5, 8, rng)
    with pytest.raises(SynflipError, match="5-bit probability words, the accelerator 4"):
        eight_banks.load(wide)
    deep = network((3000, 1024, 1024, 1024), 4, 8, rng)
    with pytest.raises(SynflipError, match=r"needs \d+ weight entries a bank, there are 16384"):
        check_fit(deep, eight_banks.geometry)
    pixels = images(2, deep, rng)
    with Golden(eight_banks.geometry) as golden:
        for device in (eight_banks, golden):
            device.load(deep)
        want, found = (device.infer(pixels, 1, 3, logits=True) for device in (golden, eight_banks))
    assert compare(want, found, "in parts").equal


def test_interrupt_leaves_the_device_usable(eight_banks, monkeypatch):
    rng = np.random.default_rng(8)
    model = network((784, 200, 10), 4, 8, rng)
    pixels = images(16, model, rng)
    eight_banks.load(model)

    def interrupt():
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(eight_banks.transport, "wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            eight_banks.infer(pixels, 500, 8)
    check(eight_banks, model, pixels, 3, 8)


def test_interrupted_twice(eight_banks, monkeypatch):
    """Ctrl-C in a run, and again while it is aborted: the next call, or the end of the context, aborts it."""
    rng = np.random.default_rng(11)
    model = network((784, 200, 10), 4, 8, rng)
    pixels = images(16, model, rng)
    write = eight_banks.write_register

    def interrupt(name="CONTROL", value=memory_map.CONTROL_ABORT):
        if (name, value) == ("CONTROL", memory_map.CONTROL_ABORT):
            raise KeyboardInterrupt
        write(name, value)

    for again in (
        eight_banks.load,
        lambda model: eight_banks.infer(pixels, 1, 1),
        lambda model: eight_banks.abort(),
    ):
        eight_banks.load(model)
        with monkeypatch.context() as patched:
            patched.setattr(eight_banks.transport, "wait", interrupt)
            patched.setattr(eight_banks, "write_register", interrupt)
            with pytest.raises(KeyboardInterrupt):
                eight_banks.infer(pixels, 500, 8)
        assert eight_banks.read_register("STATUS") == memory_map.STATUS_BUSY
        again(model)
        assert eight_banks.read_register("STATUS") == 0
        check(eight_banks, model, pixels, 3, 8)


def test_run_that_does_not_end(eight_banks, monkeypatch):
    rng = np.random.default_rng(9)
    model = network((784, 200, 10), 4, 8, rng)
    eight_banks.load(model)
    monkeypatch.setattr(eight_banks, "timeout", -1.0)
    with pytest.raises(SynflipError, match="did not end"):
        eight_banks.infer(images(16, model, rng), 500, 9)


def test_refused_accesses_have_no_effect(eight_banks):
    transport = eight_banks.transport
    word = np.array([1], dtype=np.uint32)
    for region in Region:
        beyond = memory_map.address(region, memory_map.extent(region, eight_banks.geometry))
        with pytest.raises(BusError, match="refused a write"):
            transport.write(beyond, word)
        with pytest.raises(BusError, match="refused a read"):
            transport.read(beyond, 1)
    for name in ("MAGIC", "STATUS"):
        with pytest.raises(BusError, match="refused a write"):
            transport.write(memory_map.register(name), word)
    transport.write(memory_map.register("IMAGES"), np.array([0], dtype=np.uint32))
    with pytest.raises(BusError, match="refused a write"):
        transport.write(memory_map.register("CONTROL"), word)
    assert transport.read(memory_map.register("STATUS"), 1)[0] == 0


@pytest.mark.parametrize("banks", [1, 2, 4, 8])
def test_nothing_multiplies_and_text_repeats(banks):
    geometry = Geometry(16, banks, bits=3)
    text = convert(geometry)
    assert text == convert(geometry)
    code = re.sub(r"/\*.*?\*/|\(\*.*?\*\)|//[^\n]*|@\s*\(?\*\)?", "", text, flags=re.S)
    # An index of a word in a vector is written as its number times its width: a constant 2^n, which is wires.
    code, factors = re.subn(r"\bhalf_read \* 6'h20;", "", code)
    assert "*" not in code
    assert factors == 1
    assert len(re.findall(r"\bmodule synflip\b", text)) == 1
