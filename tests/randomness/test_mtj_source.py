"""Tunnel junctions: the model of them, and the accelerator that they feed, replayed by the golden model."""

import re
from dataclasses import replace

import numpy as np
import pytest
from synflip.devices import mtj_source
from synflip.devices.mtj_source import SourceAlarm, SourceSettings
from synflip.devices.transport import BusError
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.randomness.mtj_model import BLOCK, JunctionModel, balanced_current, switching_probability
from synflip.spec.geometry import Geometry
from synflip_hdl.export.verilog import convert, convert_axi, convert_serial
from synflip_sim.simulators.verilator import open_verilator

from tests.networks import random_network

GEOMETRY = Geometry(16, 2, bits=4, image_slots=4, devices=5)
LFSR = Geometry(16, 2, bits=4, image_slots=4)
HALF = replace(LFSR, key_halves=1)


def network(rng, sizes=(20, 24, 5)):
    return random_network(rng, sizes, reach=99)


def images(rng, count, rows=20):
    return rng.integers(0, 256, (count, rows)).astype(np.uint8)


def same(have, want):
    np.testing.assert_array_equal(have.votes, want.votes)
    np.testing.assert_array_equal(have.logit_sums, want.logit_sums)
    np.testing.assert_array_equal(have.used, want.used)
    if have.logits is not None:
        np.testing.assert_array_equal(have.logits, want.logits)


# The model


def test_the_balanced_current_switches_every_other_time():
    for barrier, pulse in ((40.0, 10.0), (20.0, 3.0)):
        current = balanced_current(barrier, pulse)
        assert switching_probability(current, barrier, pulse) == pytest.approx(0.5, abs=1e-12)
    # By hand: 1 - exp(-10 exp(-40 * 0.1)).
    assert switching_probability(0.9, 40.0, 10.0) == pytest.approx(1 - np.exp(-10 * np.exp(-4.0)))
    # Heat lowers the barrier.
    assert switching_probability(0.9, 40.0, 10.0, 330.0) > switching_probability(0.9, 40.0, 10.0)


def test_bits_do_not_depend_on_how_they_are_asked_for():
    whole = JunctionModel(3, seed=4, mismatch=0.01, drift=0.01, correlation=0.3).bits(5000)
    other = JunctionModel(3, seed=4, mismatch=0.01, drift=0.01, correlation=0.3)
    parts = [other.bits(count) for count in (0, 1, 1023, 1, 2000, 1975)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert (JunctionModel(3, seed=5).bits(5000) != whole).any()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed=-1", "the seed must not be negative; it is -1"),
        *(
            (f"mismatch={value}", "mismatch must be a share, 0 or more, not")
            for value in ("nan", "inf", "-1")
        ),
        ("drift=-0.5", "drift must be a share, 0 or more, not -0.5"),
        *(
            (f"{name}={value}", f"{name} must be a number above 0, not")
            for name in ("barrier", "pulse", "drift_bits", "temperature")
            for value in ("0", "-3", "nan", "inf")
        ),
        ("correlation=nan", "the correlation must be at least 0 and below 1, not nan"),
    ],
)
def test_a_junction_that_cannot_be(text: str, words: str) -> None:
    with pytest.raises(SynflipError, match=words):
        JunctionModel.parse(5, text)


def test_bias_and_correlation_are_those_asked_for():
    model = JunctionModel(4, seed=1, mismatch=0.02, correlation=0.25)
    bits = model.bits(200_000)
    np.testing.assert_allclose(bits.mean(0), model.probability, atol=0.01)
    assert model.probability.std() > 0.05
    lag = [np.corrcoef(column[1:], column[:-1])[0, 1] for column in bits.T]
    np.testing.assert_allclose(lag, 0.25, atol=0.02)


def test_stuck_and_dying_junctions():
    bits = JunctionModel(3, seed=2, stuck={1: (BLOCK + 7, 1)}, dying={2: (0, 20_000.0)}).bits(4 * BLOCK)
    assert bits[BLOCK + 7 :, 1].all() and not bits[: BLOCK + 7, 1].all()
    assert bits[3 * BLOCK :, 2].mean() < 0.5 * bits[:BLOCK, 2].mean()


# The accelerator


@pytest.mark.simulator
def test_random_hardware_is_verified_exactly():
    """The keys that the junctions made, read back, give the same votes and logits in torch."""
    rng = np.random.default_rng(0)
    model, pixels = network(rng), images(rng, 4)
    golden = Golden(GEOMETRY)
    golden.load(model)
    with open_verilator(GEOMETRY, say=lambda text: None, junctions=JunctionModel(5, seed=3)) as device:
        assert device.geometry == GEOMETRY
        device.load(model)
        seen = []
        for samples in (1, 2, 5):
            have = device.infer(pixels, samples, 0, logits=True, keep_keys=True)
            same(have, golden.infer(pixels, samples, 0, logits=True, keys=have.keys))
            seen.append(have.keys)
        every = np.concatenate(seen).reshape(-1)
        assert len(set(every.tolist())) == every.size  # no key twice
        ones = np.unpackbits(every.view(np.uint8)).mean()
        assert abs(ones - 0.5) < 5 * 0.5 / np.sqrt(every.size * 64)
        with pytest.raises(SynflipError, match="one batch: 4 images of this model, not 5"):
            device.infer(images(rng, 5), 1, 0, keep_keys=True)
        with pytest.raises(BusError, match="refused"):
            device.transport.write(2 << 24, np.zeros(1, np.uint32))  # seeds: there is no LFSR


@pytest.mark.simulator
@pytest.mark.parametrize(
    "geometry",
    [GEOMETRY, pytest.param(LFSR, marks=pytest.mark.nightly), pytest.param(HALF, marks=pytest.mark.nightly)],
    ids=["mtj", "lfsr", "half"],
)
def test_the_host_can_bring_the_keys(geometry):
    rng = np.random.default_rng(1)
    model, pixels = network(rng), images(rng, 11)
    golden = Golden(geometry)
    golden.load(model)
    keys = rng.integers(0, 2**64, (7, 24 + 24), dtype=np.uint64)
    with open_verilator(geometry, say=lambda text: None) as device:
        device.load(model)
        want = golden.infer(pixels, 7, 0, logits=True, keys=keys)
        same(device.infer(pixels, 7, 0, logits=True, keys=keys), want)
        early = golden.infer(pixels, 7, 0, margin=2, keys=keys)
        assert early.used.min() < 7
        same(device.infer(pixels, 7, 0, margin=2, keys=keys), early)
        back = device.infer(pixels[:3], 7, 0, keys=keys, keep_keys=True)
        np.testing.assert_array_equal(back.keys, keys)
        with pytest.raises(SynflipError, match=r"uint64 \[6, 48\]"):
            device.infer(pixels, 6, 0, keys=keys)


@pytest.mark.simulator
@pytest.mark.parametrize(
    "geometry", [LFSR, pytest.param(HALF, marks=pytest.mark.nightly)], ids=["lfsr", "half"]
)
def test_kept_keys_of_the_lfsr_are_the_contract_s(geometry):
    rng = np.random.default_rng(2)
    model, pixels = network(rng), images(rng, 3)
    golden = Golden(geometry)
    golden.load(model)
    with open_verilator(geometry, say=lambda text: None) as device:
        device.load(model)
        have = device.infer(pixels, 5, 99, logits=True, keep_keys=True)
        with pytest.raises(BusError, match="refused a read"):
            device.read_register("FOLD")
        with pytest.raises(SynflipError, match="no tunnel junctions"):
            mtj_source.prepare(device)
    want = golden.infer(pixels, 5, 99, logits=True, keep_keys=True)
    np.testing.assert_array_equal(have.keys, want.keys)
    same(have, want)
    assert have.cycles == want.cycles


@pytest.mark.simulator
def test_devices_that_fail_are_cut_out_and_too_few_stop_the_run():
    rng = np.random.default_rng(3)
    model, pixels = network(rng), images(rng, 4)
    # Two fail their start-up tests; the run goes on with three, until one more fails.
    model_of_junctions = JunctionModel(5, seed=4, stuck={0: (0, 1), 3: (0, 0), 1: (60_000, 0)})
    with open_verilator(GEOMETRY, say=lambda text: None, junctions=model_of_junctions) as device:
        device.load(model)
        assert "3 of 5 tunnel junctions work" in mtj_source.describe(device)
        assert device.infer(pixels, 2, 0).votes.sum() == 8
        with pytest.raises(SourceAlarm, match=r"2 of 5 .* 3 must; stuck: 0, 1, 3$"):
            device.infer(pixels, 100_000, 0)
        # The alarm stays; the host's keys still run.
        with pytest.raises(SourceAlarm):
            device.infer(pixels, 1, 0)
        keys = rng.integers(0, 2**64, (2, 48), dtype=np.uint64)
        assert device.infer(pixels, 2, 0, keys=keys).votes.sum() == 8
        with pytest.raises(SourceAlarm):
            mtj_source.prepare(device)
        mtj_source.prepare(device, SourceSettings(least=1))
        assert device.infer(pixels, 1, 0).votes.sum() == 4


@pytest.mark.simulator
def test_a_biased_device_fails_its_proportion_test_and_fair_ones_pass():
    junction_model = JunctionModel(5, seed=5)
    junction_model._offset[2] = 0.025
    assert 0.8 < junction_model.probability[2] < 0.9
    with open_verilator(GEOMETRY, say=lambda text: None, junctions=junction_model) as device:
        assert "4 of 5" in mtj_source.describe(device)
        assert mtj_source.describe(device).endswith("biased: 2")


@pytest.mark.simulator
def test_captured_bits_are_the_device_s():
    stream = JunctionModel(5, seed=6).bits(200_000)
    with open_verilator(GEOMETRY, say=lambda text: None, junctions=JunctionModel(5, seed=6)) as device:
        for junction in (0, 4):
            bits = mtj_source.capture(device, junction)
            text, whole = bits.tobytes(), stream[:, junction].tobytes()
            assert len(bits) == 1 << 14 and text in whole
        with pytest.raises(SynflipError, match="no junction 5"):
            mtj_source.capture(device, 5)


@pytest.mark.parametrize(
    "make",
    [convert, convert_axi, lambda geometry: convert_serial(geometry, 4, 1)],
    ids=["bare", "axi", "uart"],
)
def test_the_pins_are_there_behind_every_front_end(make):
    small = replace(GEOMETRY, weight_depth=64, event_depth=64, key_depth=64, bias_depth=64, log_depth=64)
    text = make(small)
    assert re.search(r"^  input \[4:0\] raw;$", text, re.MULTILINE)
    assert re.search(r"^  input strobe;$", text, re.MULTILINE)
    if make is not convert:
        accelerator = text[text.index(" accelerator (") :]
        accelerator = accelerator[: accelerator.index(");\n")]
        assert ".raw(raw)" in accelerator and ".strobe(strobe)" in accelerator
    text = make(replace(small, devices=0))
    assert not re.search(r"^  input .*(raw|strobe);$", text, re.MULTILINE)


@pytest.mark.simulator
def test_an_alarm_does_not_keep_the_accelerator_from_opening():
    rng = np.random.default_rng(8)
    model, pixels = network(rng), images(rng, 4)
    bad = JunctionModel(5, seed=7, stuck={device: (0, 1) for device in range(4)})
    with open_verilator(GEOMETRY, say=lambda text: None, junctions=bad) as device:
        assert "1 of 5 tunnel junctions work, 3 must" in mtj_source.describe(device)
        assert mtj_source.used(device) == {4}
        device.load(model)
        with pytest.raises(SourceAlarm, match=r"stuck: 0, 1, 2, 3$"):
            device.infer(pixels, 1, 0)
        keys = rng.integers(0, 2**64, (2, 48), dtype=np.uint64)
        assert device.infer(pixels, 2, 0, keys=keys).votes.sum() == 8


def test_junctions_as_text():
    model = JunctionModel.parse(
        4, "seed=3, mismatch=0.02,drift=0.001,temperature=310,correlation=0.1,stuck=1,stuck=3"
    )
    want = JunctionModel(4, 3, mismatch=0.02, drift=0.001, temperature=310.0, correlation=0.1)
    want.stuck = {1: (0, 0), 3: (0, 0)}
    np.testing.assert_array_equal(model.bits(3000), want.bits(3000))
    assert JunctionModel.parse(2, "") == JunctionModel(2, 0)
    for text, message in (
        ("x=1", "is not NAME=NUMBER"),
        ("seed=1.5", "is not NAME"),
        ("stuck=4", "no junction 4"),
    ):
        with pytest.raises(SynflipError, match=message):
            JunctionModel.parse(4, text)
