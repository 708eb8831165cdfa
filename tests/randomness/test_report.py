"""The evidence on coins at a small size: fair ones pass, and each way to be unfair is seen."""

import itertools
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats
from synflip.cli.app import main
from synflip.cli.coins import evidence as command
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.randomness import coin_effect, evidence, sources
from synflip.randomness.mtj_model import JunctionModel
from synflip.randomness.statistical_tests import ROWS, verdict, word_results, words
from synflip.report.sections import replace_section
from synflip.spec import lfsr
from synflip.spec.coins import key_words, word_taps
from synflip.spec.model import CompiledModel, Layer

KEYS = 20_000
SOURCES = {source.name: source for source in sources.sources()}


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
    results = evidence.key_and_word_results(keys, 4, source.taps)
    assert verdict(results) == source.fair, [(item.name, item.p) for item in results]


@pytest.mark.parametrize("name", ["lfsr", "ideal", "one word", "shift by one"])
def test_verdicts_on_a_network(name):
    model = network()
    golden = Golden()
    golden.load(model)
    pixels = np.random.default_rng(2).integers(0, 16, (3, 40)).astype(np.uint8)
    ideal = coin_effect.logits(golden, pixels, coin_effect.ideal_flips(model, 1), 3000)
    have = coin_effect.logits(golden, pixels, evidence.flips(model, SOURCES[name], 2), 3000)
    assert verdict(list(coin_effect.compare(have, ideal))) == SOURCES[name].fair


def test_flips_of_the_lfsr_are_the_golden_model_s():
    model = network()
    golden = Golden()
    golden.load(model)
    pixels = np.random.default_rng(3).integers(0, 16, (5, 40)).astype(np.uint8)
    want = golden.infer(pixels, 40, 7, logits=True).logits
    have = coin_effect.logits(golden, pixels, evidence.flips(model, SOURCES["lfsr"], 7), 40)
    np.testing.assert_array_equal(have, want)


def test_jumps_and_steps():
    done = []
    assert evidence.jumps_agree(5, 1 << 10, done.append)
    assert done == [1 << power for power in range(11)]


@pytest.mark.parametrize("broken", ["jump", "keys"])
def test_a_jump_that_goes_elsewhere_is_seen(broken, monkeypatch):
    if broken == "jump":
        jump = lfsr.jump
        monkeypatch.setattr(lfsr, "jump", lambda state, steps: jump(state, steps + (steps == 256)))
    else:
        keys = lfsr.keys
        wrong = np.uint64(1 << 40)
        monkeypatch.setattr(
            evidence, "lfsr_keys", lambda *what: keys(*what) ^ wrong * (np.arange(what[2]) == 300)
        )
    assert not evidence.jumps_agree(5, 1 << 10)


def test_the_textbook_register_shifts_by_one():
    keys = sources.textbook_keys(9)
    parts = [keys(0, 1), keys(1, 700), keys(701, 40)]
    got = [int(key) for part in parts for key in part]
    state = got[0]
    for want in got:
        assert state == want
        fresh = (state ^ state >> 1 ^ state >> 3 ^ state >> 4) & 1
        state = state >> 1 | fresh << 63


ZERO = 63  # a key bit that is made 0


def spoilt(direction: str, group: int):
    """Keys and taps with which pairs, or only triples, of words depend on each other in this direction."""
    keys = np.random.default_rng(group).integers(0, 2**64, KEYS // (6 * ROWS) * 6 * ROWS, dtype=np.uint64)
    if direction in ("rows", "samples"):
        blocks = keys.reshape(-1, group, 1 if direction == "rows" else ROWS)
        blocks[:, -1] = np.bitwise_xor.reduce(blocks[:, :-1], axis=1)
        return keys, word_taps
    step = 64 if direction == "tiles" else 1

    def taps(output: int, bit: int) -> tuple[int, int, int]:
        place = output // step % group
        one, other = (bit,) * 3, (16 + bit,) * 3
        if group == 2 or place == 0:
            return one
        return other if place == 1 else (bit, 16 + bit, ZERO)

    return keys & np.uint64(~(1 << ZERO) & 2**64 - 1), taps


@pytest.mark.parametrize("direction", ["lanes", "tiles", "rows", "samples"])
@pytest.mark.parametrize("group", [2, 3])
def test_dependence_in_each_direction_is_seen(direction, group):
    keys, taps = spoilt(direction, group)
    found = {}
    for result in word_results(keys, 4, taps):
        if result.name.startswith(("pairs", "triples")[group - 2]):
            found[result.name.split()[-1]] = result.p
    assert found[direction] < 1e-6, found


def test_junction_keys_keep_what_is_left_over():
    whole = sources.junction_keys(JunctionModel(5, seed=1), 2)(0, 100)
    parts = sources.junction_keys(JunctionModel(5, seed=1), 2)
    np.testing.assert_array_equal(np.concatenate([parts(0, 33), parts(33, 67)]), whole)


def test_intervals_hold_the_effect():
    """Logits whose mean, variance and votes are off by known amounts, in one image and class of many."""
    rng = np.random.default_rng(5)
    ideal = np.rint(rng.normal(0, 100, (4000, 3, 4))).astype(np.int32)
    have = np.rint(rng.normal(0, 100, (4000, 3, 4))).astype(np.int32)
    have[:, 1, 2] = np.rint(rng.normal(40, 130, 4000))
    found = {result.name: result for result in coin_effect.compare(have, ideal)}
    fair = {result.name: result for result in coin_effect.compare(have[:, [0, 2]], ideal[:, [0, 2]])}
    assert not verdict(list(found.values())) and verdict(list(fair.values()))
    for name, effect in (("mean of a logit", 0.4), ("variance of a logit", 0.69)):
        low, high = found[name].interval
        assert found[name].p < 1e-9 and low < effect < high < found[name].bound + 1e-9
        assert high - low < 0.35 and fair[name].bound < 0.3
    # Normal distributions that far apart differ by at most this much.
    distance = float(
        np.abs(
            stats.norm.cdf(np.linspace(-5, 5, 999)) - stats.norm.cdf((np.linspace(-5, 5, 999) - 0.4) / 1.3)
        ).max()
    )
    low, high = found["distribution of a logit"].interval
    assert low < distance < high
    shares = [(part.argmax(2)[:, 1] == 2).mean() for part in (have, ideal)]
    share = found["share of a class's votes"]
    assert share.p < 1e-9 and share.effect == pytest.approx(shares[0] - shares[1], abs=1e-3)
    difference, half = coin_effect.accuracy(have, ideal, np.array([0, 2, 1]))
    assert difference > half > 0


def test_what_never_varies_is_no_finding():
    still = np.zeros((500, 2, 3), dtype=np.int32)
    still[:, 0, 1] = 7
    moving = still.copy()
    moving[:, 1, :] = np.random.default_rng(0).integers(-9, 9, (500, 3))
    other = still.copy()
    other[:, 1, :] = np.random.default_rng(1).integers(-9, 9, (500, 3))
    assert verdict(list(coin_effect.compare(moving, other)))
    other[:, 0, 1] = 8
    assert not verdict(list(coin_effect.compare(moving, other)))


def test_the_command_at_a_small_size(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evidence, "JUMPS", 1 << 8)
    model = network()
    pixels = np.random.default_rng(4).integers(0, 16, (3, 40)).astype(np.uint8)
    monkeypatch.setattr(
        command,
        "train_small",
        lambda name: (SimpleNamespace(test_images=pixels, test_labels=np.zeros(3, int)), model),
    )
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- begin coins digits -->\nstale\n<!-- end coins digits -->\nafter\n")
    arguments = ["coins", "--samples", "1500", "--keys", "20000", "--page", "page.md", "--picture", "p.png"]
    arguments += ["--json", "n.json"]
    assert main(arguments) == 0, capsys.readouterr().err
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("-->\nafter\n") and "stale" not in text
    assert "Made by `synflip coins --data digits --samples 1500 --images 3 --keys 20000 --seed 1`" in text
    assert "| lfsr | LFSR113, the contract's words | fair | fair |" in text.replace("\n", " ")
    assert "| one word | one word shared by all lanes of a row | **not fair** | **not fair** |" in text
    assert text.count("| 113 |") == 2  # the shortest LFSR of lfsr, and of one word, which has its keys
    assert "each power of two, agree" in text
    assert (tmp_path / "p.png").read_bytes() == (tmp_path / "out/coins/coins.png").read_bytes()
    assert "## mtj unfolded" in (tmp_path / "out/coins/coins.md").read_text()
    numbers = json.loads((tmp_path / "n.json").read_text())
    assert (numbers["samples"], numbers["images"], numbers["jumps_agree"]) == (1500, 3, True)
    assert [item["fair"] for item in numbers["sources"]] == [source.fair for source in SOURCES.values()]
    assert numbers["sources"][0]["shortest_lfsr"] == 113
    # A source that is fair, but should not be, is an error.
    unfair = [replace(source, fair=not source.fair) for source in sources.sources()[:1]]
    monkeypatch.setattr(evidence, "sources", lambda: unfair)
    assert main(arguments) == 1
    assert "a verdict is not the one expected" in capsys.readouterr().err


def test_sections_of_pages(tmp_path):
    page = tmp_path / "page.md"
    for text in (
        "",
        "<!-- begin x -->",
        "<!-- end x --><!-- begin x -->",
        "<!-- begin x -->\n" * 2 + "<!-- end x -->",
    ):
        page.write_text(text)
        with pytest.raises(SynflipError, match="has no section between the lines"):
            replace_section(page, "x", "new")
        assert page.read_text() == text
    with pytest.raises(SynflipError, match="cannot read"):
        replace_section(tmp_path / "missing.md", "x", "new")


def test_the_textbook_register_in_hardware():
    """The one whose cells are counted is the one whose coins are tested."""
    from amaranth.sim import Simulator
    from synflip_hdl.flow.coin_cost import TextbookRegister

    dut = TextbookRegister()
    seen = []

    async def bench(ctx):
        ctx.set(dut.step, 1)
        for _ in range(300):
            seen.append(ctx.get(dut.key))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen[0] == 1 and len(set(seen)) == 300
    for before, after in itertools.pairwise(seen):
        fresh = (before ^ before >> 1 ^ before >> 3 ^ before >> 4) & 1
        assert after == before >> 1 | fresh << 63
