"""The evidence on coins at a small size: fair ones pass, and each way to be unfair is seen."""

import numpy as np
import pytest
from synflip import coin_effect, coins_report
from synflip.golden import Golden
from synflip.mtj import Junctions
from synflip.randomness import key_findings, verdict, word_findings, words
from synflip.spec.coins import key_words, word_taps
from synflip.spec.model import CompiledModel, Layer

KEYS = 20_000
SOURCES = {source.name: source for source in coins_report.sources()}


def network() -> CompiledModel:
    rng = np.random.default_rng(0)
    layers = []
    for rows, outputs in ((40, 24), (24, 4)):
        q = rng.integers(2, 14, (outputs, rows)).astype(np.uint16)
        sign = rng.integers(0, 2, (outputs, rows)).astype(np.uint8)
        layers.append(Layer(q, sign, np.zeros(outputs, np.int32)))
    return CompiledModel(tuple(layers), 4, 4, (2,), ("a", "b", "c", "d"), 15)


def test_words_are_the_contract_s():
    keys = np.random.default_rng(1).integers(0, 2**64, 50, dtype=np.uint64)
    outputs = np.array([0, 3, 16, 700, 1023])
    np.testing.assert_array_equal(words(keys, outputs, 5, word_taps), key_words(keys, 1024, 5)[:, outputs])


@pytest.mark.parametrize("name", [name for name, source in SOURCES.items() if source.keys])
def test_verdicts_on_words(name):
    source = SOURCES[name]
    assert source.keys is not None
    keys = source.keys(3)(0, KEYS)
    findings = [*key_findings(keys), *word_findings(keys, 4, source.taps)]
    assert verdict(findings) == source.fair, [(item.name, item.p) for item in findings]


@pytest.mark.parametrize("name", ["lfsr", "ideal", "one word"])
def test_verdicts_on_a_network(name):
    model = network()
    golden = Golden()
    golden.load(model)
    pixels = np.random.default_rng(2).integers(0, 16, (3, 40)).astype(np.uint8)
    ideal = coin_effect.logits(golden, pixels, coin_effect.ideal_flips(model, 1), 3000)
    have = coin_effect.logits(golden, pixels, coins_report.flips(model, SOURCES[name], 2), 3000)
    assert verdict(list(coin_effect.compare(have, ideal))) == SOURCES[name].fair


def test_flips_of_the_lfsr_are_the_golden_model_s():
    model = network()
    golden = Golden()
    golden.load(model)
    pixels = np.random.default_rng(3).integers(0, 16, (5, 40)).astype(np.uint8)
    want = golden.infer(pixels, 40, 7, logits=True).logits
    have = coin_effect.logits(golden, pixels, coins_report.flips(model, SOURCES["lfsr"], 7), 40)
    np.testing.assert_array_equal(have, want)


def test_jumps_and_steps():
    assert coins_report.jumps_agree(5, 1 << 12)


def test_junction_keys_keep_what_is_left_over():
    whole = coins_report.junction_keys(Junctions(5, seed=1), 2)(0, 100)
    parts = coins_report.junction_keys(Junctions(5, seed=1), 2)
    np.testing.assert_array_equal(np.concatenate([parts(0, 33), parts(33, 67)]), whole)
