"""Calibration: simulated devices that are biased, correlated or stuck are found and named, and cut out."""

import json
from pathlib import Path

import numpy as np
import pytest
from synflip.cli.app import main
from synflip.devices import mtj_source
from synflip.devices.mtj_source import SourceSettings
from synflip.devices.serial import open_serial
from synflip.errors import SynflipError
from synflip.randomness import calibration, sources
from synflip.randomness.calibration import MOST_FOLD, excess, fold_for, measure, propose
from synflip.randomness.mtj_model import JunctionModel
from synflip.spec.geometry import Geometry
from synflip_sim.serial.pty import PtyDevice
from synflip_sim.simulators.verilator import open_verilator

GEOMETRY = Geometry(16, 2, bits=4, image_slots=4, devices=5)
BITS = 1 << 17


def devices(count: int, **physics) -> list[calibration.Measured]:
    bits = JunctionModel(count, seed=1, **physics).bits(BITS)
    return [measure(device, bits[:, device]) for device in range(count)]


@pytest.mark.parametrize("after_zero", [0.5, 0.55, 0.3])
@pytest.mark.parametrize("after_one", [0.5, 0.62, 0.8])
@pytest.mark.parametrize("fold", [1, 2, 3, 5])
def test_what_folding_leaves(fold, after_zero, after_one):
    """Against all 2^fold sequences, one by one."""
    worst = 0.0
    for last in (0, 1):
        difference = 0.0
        for sequence in range(1 << fold):
            chance, before, parity = 1.0, last, 0
            for place in range(fold):
                bit = sequence >> place & 1
                one = after_one if before else after_zero
                chance *= one if bit else 1 - one
                before, parity = bit, parity ^ bit
            difference += chance * (1 - 2 * parity)
        worst = max(worst, abs(difference))
    assert excess(fold, after_zero, after_one) == pytest.approx(worst, abs=1e-12)


def test_independent_bits_of_bias_e_leave_what_the_piling_up_lemma_says():
    for fold in range(1, 6):
        assert excess(fold, 0.6, 0.6) == pytest.approx(0.2**fold)


@pytest.mark.parametrize(("mismatch", "correlation"), [(0.0, 0.0), (0.004, 0.0), (0.0, 0.1), (0.002, 0.03)])
def test_a_proposed_fold_gives_the_entropy_that_was_asked_for(mismatch, correlation):
    model = JunctionModel(1, seed=7, mismatch=mismatch, correlation=correlation)
    fold = fold_for(model.bits(BITS)[:, 0], 0.99)
    assert fold is not None
    folded = np.bitwise_xor.reduce(model.bits(fold << 17).reshape(-1, fold), axis=1)
    error = 4 / np.sqrt(folded.size)
    signs = 1.0 - 2.0 * folded
    most = 2**0.01 - 1 + error
    assert abs(signs.mean()) < most
    assert abs((signs[1:] * signs[:-1]).mean()) < most
    # A fair device is folded less than a correlated one.
    assert fold <= 3 or correlation


def test_intervals_hold_the_truth():
    """Of bits so correlated that an interval made for independent ones would hold it in 74 % of the cases."""
    biases, correlations = 0, 0
    for seed in range(60):
        model = JunctionModel(1, seed=seed, mismatch=0.004, correlation=0.5)
        found = measure(0, model.bits(8192)[:, 0])
        low, high = found.bias_interval
        biases += low <= model.probability[0] - 0.5 <= high
        low, high = found.correlation_interval
        correlations += low <= 0.5 <= high
    # 95 % of 60 is 57, give or take 1.7.
    assert biases >= 52 and correlations >= 52


def test_the_report_s_junctions_are_folded_as_calibration_proposes():
    measured = devices(sources.DEVICES, **sources.REAL)
    judged, settings = propose(measured)
    assert settings is not None and settings.fold == sources.REAL_FOLD
    assert not any(one.left_out for one in judged)


def test_a_device_that_costs_more_than_it_gives_is_left_out():
    model = JunctionModel(5, seed=2)
    model._offset[3] = 0.015  # P(1) about 0.7
    bits = model.bits(BITS)
    judged, settings = propose([measure(device, bits[:, device]) for device in range(5)])
    assert settings is not None and settings.fold == 3 and settings.least == 2
    assert [one.device for one in judged if one.left_out] == [3]
    assert judged[3].left_out == f"needs FOLD {judged[3].fold}; without it 3 gives more bits"
    assert judged[3].most_common < judged[0].most_common and judged[3].bias > 0.15


def test_no_device_is_any_good():
    judged, settings = propose(devices(2, correlation=0.9))
    assert settings is None
    assert all("is below 0.5" in one.left_out for one in judged)
    bits = JunctionModel(1, seed=3, correlation=0.55).bits(BITS)[:, 0]
    assert measure(0, bits, target=0.99999, least_entropy=0.1).left_out == (
        f"folding by {MOST_FOLD} does not suffice"
    )


@pytest.mark.simulator
def test_bad_devices_are_found_named_and_cut_out(tmp_path):
    """Through the simulated interface. Two of five are bad: enough to raise an alarm if three must work well,
    and still the accelerator opens, so that they can be found."""
    model = JunctionModel(5, seed=4, mismatch=0.001, stuck={0: (0, 1)})
    model._offset[2] = 0.03
    model._offset[4] = 0.03
    with open_verilator(GEOMETRY, say=lambda text: None, junctions=model) as device:
        for _ in range(1000):  # until the tests have seen enough bits
            if device.read_register("STATUS") & 2:
                break
            device.transport.wait()
        else:
            pytest.fail("no alarm")
        found = calibration.calibrate(device, captures=2)
        assert found.left_out == [0, 2, 4]
        assert found.devices[0].left_out == "stuck at 1"
        assert "is below 0.5" in found.devices[2].left_out
        low, high = found.devices[2].bias_interval
        assert low < model.probability[2] - 0.5 < high and high - low < 0.02
        assert calibration.apply(device, found) == []
        assert mtj_source.used(device) == {1, 3}
        assert found.settings is not None
        assert device.read_register("FOLD") == found.settings.fold
        assert device.read_register("REPETITION_CUTOFF") == found.settings.words(5)["REPETITION_CUTOFF"]
        # What was written stays when a host comes anew; other settings replace it.
        mtj_source.prepare(device)
        assert device.read_register("FOLD") == found.settings.fold != SourceSettings().fold
        path = tmp_path / "junctions.json"
        found.save(path)
        assert calibration.read_settings(path) == found.settings
        content = json.loads(path.read_text())
        assert content["left_out"] == [0, 2, 4] and len(content["devices"]) == 5
        mtj_source.prepare(device, SourceSettings(least=2))
        assert device.read_register("FOLD") == SourceSettings().fold
        mtj_source.prepare(device, calibration.read_settings(path))
        assert device.read_register("FOLD") == found.settings.fold


@pytest.mark.simulator
def test_a_bad_device_that_cannot_be_cut_out_is_named():
    model = JunctionModel(5, seed=5)
    # P(1) about 0.58: it costs FOLD, but a window's 594 ones, give or take 16, stay below a cut-off of 650.
    model._offset[1] = 0.006
    with open_verilator(GEOMETRY, say=lambda text: None, junctions=model) as device:
        found = calibration.calibrate(device, captures=8)
        assert found.left_out == [1]
        assert calibration.apply(device, found) == [1]


@pytest.mark.simulator
@pytest.mark.nightly
def test_over_a_serial_line(tmp_path):
    """The same through a UART: the driver, and the pins of the gateware behind it."""
    small = Geometry(
        16, 1, bits=2, weight_depth=64, event_depth=64, key_depth=64, bias_depth=64, image_slots=2, devices=3
    )
    model = JunctionModel(3, seed=6, stuck={1: (0, 0)})
    with PtyDevice(small, junctions=model) as line:
        arguments = ["calibrate", "--device", line.path, "--captures", "1", "--apply"]
        assert main([*arguments, "--out", str(tmp_path / "j.json")]) == 0
        with open_serial(line.path) as device:
            assert mtj_source.used(device) == {0, 2}
            written = calibration.read_settings(tmp_path / "j.json").words(3)
            assert {name: device.read_register(name) for name in written} == written
    content = json.loads((tmp_path / "j.json").read_text())
    assert content["left_out"] == [1] and content["accelerator"] == line.path


def test_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    arguments = ["calibrate", "--geometry", "16x2,bits=4,image_slots=4,devices=5", "--captures", "1"]
    assert (
        main([*arguments, "--junctions", "seed=1,stuck=2", "--out", "j.json", "--apply", "--json", "n.json"])
        == 0
    )
    assert json.loads(Path("n.json").read_text()) == json.loads(Path("j.json").read_text())
    text = " ".join(capsys.readouterr().out.split())
    assert "5 tunnel junctions of verilator" in text
    assert "Proposed, and written" in text and "leave out 2 stuck at 0" in text
    assert 3 <= calibration.read_settings("j.json").fold <= 5
    assert main([*arguments, "--junctions", "correlation=0.9"]) == 1
    assert capsys.readouterr().err == "error: no junction is any good\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "1"], "the target must be above 0 and below 1, not 1.0"),
        (["--least-entropy", "0"], "the least entropy must be above 0 and below 1, not 0.0"),
        (["--geometry", "16x2"], "verilator, 16x2, has no tunnel junctions: its keys come from an LFSR"),
        (["--device", "golden"], "'golden' has no tunnel junctions"),
        (["--device", "/dev/nothing"], "/dev/nothing cannot be opened"),
        (["--device", "/dev/nothing", "--geometry", "16x2"], "leave out --geometry"),
        (["--device", "/dev/nothing@fast"], "'fast' in '/dev/nothing@fast' is not a baud rate"),
        (["--junctions", "mismatch=a"], "'mismatch=a' is not NAME=NUMBER, with one of seed, barrier"),
        (["--junctions", "stuck=8"], "no junction 8 to be stuck: there are 8"),
        (["--out", f"{__file__}/x.json"], "cannot make the folder"),
    ],
)
def test_what_cannot_be_calibrated(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["calibrate", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_files_that_are_no_calibration(tmp_path):
    for content in ("", "{}", '{"settings": {"nothing": 1}}', "[]"):
        path = tmp_path / "x.json"
        path.write_text(content)
        with pytest.raises(SynflipError, match=r"x\.json is not a calibration"):
            calibration.read_settings(path)
    with pytest.raises(SynflipError, match="cannot read"):
        calibration.read_settings(tmp_path / "missing.json")
    with pytest.raises(SynflipError, match="the target must be above 0 and below 1, not 1"):
        measure(0, np.zeros(100, np.uint8), target=1.0)
