"""Slow sources of keys: runs in Verilator take the cycles that the model predicts."""

import json
from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from synflip.benchmarks import coin_rates
from synflip.cli.app import main
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.randomness import rates
from synflip.spec.geometry import Geometry

from tests.randomness.test_mtj_source import GEOMETRY, images, network

SAMPLES = 12


def one_layer(outputs: int):
    """No hidden layer: how many events there are depends on the images alone, nothing is left to chance."""
    return network(np.random.default_rng(0), (20, outputs))


@pytest.mark.simulator
@pytest.mark.parametrize("outputs", [16, 256])
@pytest.mark.parametrize(("fold", "period"), [(1, 4), (3, 4), (2, 9), (1, 40)])
def test_a_run_takes_as_long_as_predicted(outputs, fold, period):
    """Never longer; shorter by what the source had ready when the run began, less than two transfers."""
    pixels = images(np.random.default_rng(1), 4)
    found = coin_rates.measure(one_layer(outputs), GEOMETRY, pixels, SAMPLES, fold, period)
    transfer = rates.transfer_cycles(GEOMETRY.banks, GEOMETRY.devices, fold, period)
    assert found.within == ceil(2 * transfer)
    assert 0 <= found.predicted - found.counted <= found.within
    assert found.agrees
    # The prediction means something: without waiting for keys the run would be a good deal shorter.
    loads = rates.network_loads(one_layer(outputs), GEOMETRY, pixels, SAMPLES)
    least = rates.cycles(one_layer(outputs), GEOMETRY, loads)
    assert found.predicted > 1.2 * least


@pytest.mark.simulator
def test_hidden_layers_add_what_their_activations_vary_by():
    pixels = images(np.random.default_rng(2), 4)
    found = coin_rates.measure(network(np.random.default_rng(3)), GEOMETRY, pixels, SAMPLES, 2, 4)
    assert found.agrees and found.within < found.predicted / 50


def test_with_keys_at_once_it_is_the_golden_model():
    model, pixels = network(np.random.default_rng(4)), images(np.random.default_rng(5), 3)
    golden = Golden(GEOMETRY)
    golden.load(model)
    loads = rates.network_loads(model, GEOMETRY, pixels, 9)
    assert rates.cycles(model, GEOMETRY, loads) == golden.infer(pixels, 9, 0).cycles
    keys = np.random.default_rng(6).integers(0, 2**64, (9, 48), dtype=np.uint64)
    loads = rates.network_loads(model, GEOMETRY, pixels, 9, keys)
    assert rates.cycles(model, GEOMETRY, loads) == golden.infer(pixels, 9, 0, keys=keys).cycles


def test_junctions_that_are_needed():
    model, geometry = network(np.random.default_rng(7)), Geometry(16, 2, image_slots=64)
    pixels = images(np.random.default_rng(8), 32)
    need = rates.needed(model, geometry, pixels, (5e6, 25e6), 100e6, 3)
    assert need.key_bits == 48 * 64 and list(need.devices) == [5e6, 25e6]
    loads = rates.network_loads(model, geometry, pixels, rates.WARM + rates.SAMPLES)
    for rate, count in need.devices.items():
        # In the long run a sample takes as long as its computing or as its keys.
        by_hand = 48 * 64 * 3 / (rate * float(need.busy) / 0.95 / 100e6)
        assert count == pytest.approx(by_hand, abs=1.5)
        for devices, enough in ((count, True), (count - 1, False)):
            transfer = Fraction(64 * 2 * 3 * 100, int(rate / 1e6) * devices)
            waiting = rates.cycles(model, geometry, loads, transfer) - rates.cycles(
                model, geometry, loads[: rates.WARM], transfer
            )
            assert (waiting * 0.95 <= float(need.busy) * rates.SAMPLES) == enough
    assert need.devices[5e6] == pytest.approx(5 * need.devices[25e6], abs=5)


def test_what_cannot_be():
    model, pixels = network(np.random.default_rng(7)), images(np.random.default_rng(8), 2)
    with pytest.raises(SynflipError, match="up to 25 Mbit/s, not 100"):
        rates.needed(model, Geometry(16, 2), pixels, (100e6,), 100e6, 3)
    with pytest.raises(SynflipError, match="at least 4 clock cycles apart, not 3"):
        rates.transfer_cycles(2, 5, 1, 3)
    assert rates.transfer_cycles(2, 5, 3, 4) == Fraction(64 * 2 * 3 * 4, 5)
    assert rates.transfer_cycles(2, 5, 3, 4, von_neumann=True) == Fraction(64 * 2 * 3 * 4 * 4, 5)


@pytest.mark.simulator
def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    page = tmp_path / "page.md"
    page.write_text("<!-- begin rates digits -->\n<!-- end rates digits -->\n")
    monkeypatch.setattr(
        coin_rates, "CASES", (coin_rates.RateCase(devices=5, fold=2, period=8, images=4, samples=6),)
    )
    monkeypatch.setattr(
        coin_rates.RateCase,
        "measure",
        lambda case, model, x: coin_rates.measure(
            model, GEOMETRY, x[:4], case.samples, case.fold, case.period
        ),
    )
    arguments = ["rates", "--geometry", "16x1", "--geometry", "64x8", "--images", "64", "--rate", "25"]
    assert main([*arguments, "--measure", "--out", "r.md", "--page", "page.md", "--json", "n"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "as predicted 1 of 1" in out
    text = page.read_text()
    assert (tmp_path / "r.md").read_text().strip() in text
    assert (
        "Made by `synflip rates --data digits --geometry 16x1 --geometry 64x8 --images 64 --rate 25" in text
    )
    assert "| 16x1 | 64 |" in text and "| 16x2 | 5 | 2 | 8 | 4 |" in text
    assert "(" in next(line for line in text.splitlines() if line.startswith("| 64x8 | 64"))

    numbers = json.loads((tmp_path / "n").read_text())
    for need in numbers["predicted"]:
        name = need["geometry"].partition(",")[0]
        row = next(line for line in text.splitlines() if line.startswith(f"| {name} | 64"))
        assert f"| {need['cycles_a_sample']:,.0f} |" in row and need["junctions"][0]["rate_hz"] == 25e6
    assert [one["agrees"] for one in numbers["simulated"]] == [True]

    def wrong(self, model, pixels):
        found = coin_rates.Measurement(Geometry(16, 2, devices=8), 4, 6, 2, 8, 1000, 1101, 100)
        assert not found.agrees
        return found

    monkeypatch.setattr(coin_rates.RateCase, "measure", wrong)
    assert main([*arguments, "--measure"]) == 1
    assert "did not take the cycles" in capsys.readouterr().err
