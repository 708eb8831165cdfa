"""``synflip coins``: evidence that the coins are fair, and that the tests would see it if they were not."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from synflip import coin_effect
from synflip.files import replacing
from synflip.golden import CoinPlanes, Golden
from synflip.mtj import Junctions
from synflip.progress import bar
from synflip.randomness import ALPHA, Finding, Taps, key_findings, verdict, word_findings
from synflip.spec import lfsr
from synflip.spec.coins import word_taps
from synflip.spec.lfsr import keys as lfsr_keys
from synflip.spec.model import CompiledModel
from synflip.spec.sizes import KEY_BITS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLOCK_KEYS = 1 << 16
DEVICES = 16

#: (first key, how many) -> keys. Calls come in ascending order, without gaps.
Keys = Callable[[int, int], NDArray[np.uint64]]


@dataclass(frozen=True)
class Source:
    """Where coins come from. fair: what the verdict should be. keys: None for torch's generator."""

    name: str
    what: str
    fair: bool
    keys: Callable[[int], Keys] | None
    taps: Taps = word_taps


@dataclass
class Evidence:
    """Findings on one source. ``logits``: [S, N, C] of the network with its coins."""

    source: Source
    words: list[Finding]
    network: list[Finding]
    logits: NDArray[np.int32]

    @property
    def fair(self) -> bool:
        """Whether nothing was found."""
        return (not self.words or verdict(self.words)) and verdict(self.network)


def junction_keys(junctions: Junctions, fold: int) -> Keys:
    """Keys as the gateware's source packs them: raw bits of each device XORed in groups of ``fold``, in the
    order of devices and time."""
    left = np.zeros(0, dtype=np.uint8)

    def keys(first: int, count: int) -> NDArray[np.uint64]:
        nonlocal left
        folded_needed = -(-(count * KEY_BITS - left.size) // junctions.count)
        raw = junctions.bits(max(folded_needed, 0) * fold)
        folded = np.bitwise_xor.reduce(raw.reshape(-1, fold, junctions.count), axis=1).reshape(-1)
        bits = np.concatenate([left, folded])
        left = bits[count * KEY_BITS :]
        return np.packbits(bits[: count * KEY_BITS], bitorder="little").view("<u8").astype(np.uint64)

    return keys


def sources() -> list[Source]:
    """The sources of the report: the ones that should be fair, and ones that should be caught."""
    real = {"mismatch": 0.002, "drift": 0.001, "correlation": 0.02}
    biased = {"mismatch": 0.01, "drift": 0.001, "correlation": 0.05}

    def of_lfsr(seed: int) -> Keys:
        return lambda first, count: lfsr_keys(seed, first, count)

    def of_numpy(seed: int) -> Keys:
        generator = np.random.default_rng(seed)
        return lambda first, count: generator.integers(0, 1 << 64, count, dtype=np.uint64)

    def mtj(fold: int, **physics: float) -> Callable[[int], Keys]:
        return lambda seed: junction_keys(Junctions(DEVICES, seed, **physics), fold)  # type: ignore[arg-type]

    return [
        Source("lfsr", "LFSR113, the contract's words", True, of_lfsr),
        Source("mtj", f"{DEVICES} junctions, three raw bits XORed into one", True, mtj(3, **real)),
        Source("host", "keys of numpy's PCG64 generator, the contract's words", True, of_numpy),
        Source("ideal", "torch.rand for every coin, with another seed: the tests' own error", True, None),
        Source("one word", "one word shared by all lanes of a row", False, of_lfsr, _one_word),
        Source("shift by one", "one LFSR, lane j's word starts at bit j", False, of_lfsr, _shift_by_one),
        Source("mtj unfolded", "biased, correlated junctions, raw bits as they are", False, mtj(1, **biased)),
    ]


def _one_word(output: int, bit: int) -> tuple[int, int, int]:
    return word_taps(0, bit)


def _shift_by_one(output: int, bit: int) -> tuple[int, int, int]:
    return ((output + bit) % KEY_BITS,) * 3


def flips(model: CompiledModel, source: Source, seed: int) -> coin_effect.Flips:
    """Signed coins of the network's layers from this source, one network sample a call."""
    if source.keys is None:
        return coin_effect.ideal_flips(model, seed)
    planes = [CoinPlanes.of(layer, model.bits, source.taps) for layer in model.layers]
    golden = Golden()
    golden.load(model)
    draw, rows = source.keys(seed), golden.key_rows
    at_once = max(BLOCK_KEYS // rows, 1)

    def samples() -> Iterator[list[torch.Tensor]]:
        first = 0
        while True:
            for keys in draw(first * rows, at_once * rows).reshape(at_once, rows):
                yield golden.flip(keys, planes)
            first += at_once

    endless = samples()
    return lambda: next(endless)


def jumps_agree(seed: int, steps: int) -> bool:
    """Whether jumping ahead in the key sequence arrives where stepping does, at every power of two."""
    stepped = lfsr_keys(seed, 0, steps)
    places = [1 << power for power in range(steps.bit_length() - 1)]
    return all(int(lfsr_keys(seed, place, 1)[0]) == int(stepped[place]) for place in places) and bool(
        lfsr.jump(lfsr.seed_state(seed), 0) == lfsr.seed_state(seed)
    )


def gather(
    model: CompiledModel, pixels: NDArray[np.uint8], samples: int, keys: int, seed: int
) -> tuple[list[Evidence], NDArray[np.int32]]:
    """Evidence on every source from ``samples`` network samples and ``keys`` keys; and the ideal logits."""
    golden = Golden()
    golden.load(model)
    every = sources()
    with bar("Flipping coins") as advance:
        total = samples * (len(every) + 1)

        def run(number: int, source_flips: coin_effect.Flips, name: str) -> NDArray[np.int32]:
            return coin_effect.logits(
                golden,
                pixels,
                source_flips,
                samples,
                lambda done: advance(number * samples + done, total, name),
            )

        ideal = run(0, coin_effect.ideal_flips(model, seed + 1000), "torch.rand")
        evidence = []
        for number, source in enumerate(every, 1):
            found = run(number, flips(model, source, seed), source.name)
            words: list[Finding] = []
            if source.keys is not None:
                drawn = source.keys(seed)(0, keys)
                words = [*key_findings(drawn), *word_findings(drawn, model.bits, source.taps)]
            evidence.append(Evidence(source, words, list(coin_effect.compare(found, ideal)), found))
    return evidence, ideal


def markdown(
    evidence: list[Evidence], labels: NDArray[np.integer], ideal: NDArray[np.int32], command: str, keys: int
) -> str:
    """The report as a page."""
    samples, images, _ = ideal.shape
    lines = [
        "# Evidence on the coins",
        "",
        f"Made by `{command}`: {samples} network samples of {images} images and {keys} keys a source.",
        f"A verdict is *fair* if no test's p-value, times the number of tests, is below {ALPHA}. Tests on",
        "words: `synflip.randomness`; on the network: `synflip.coin_effect`, against coins of `torch.rand`.",
        "",
        "| source | | words | network | accuracy of one sample, 95 % interval | spread of the logits |",
        "|---|---|---|---|---|---|",
    ]
    for item in evidence:
        words = "-" if not item.words else "fair" if verdict(item.words) else "**not fair**"
        network = "fair" if verdict(item.network) else "**not fair**"
        right = (item.logits.argmax(2) == labels).mean(1)
        accuracy, error = right.mean(), 1.96 * right.std() / np.sqrt(samples)
        spread = item.logits.std(0).mean() / ideal.std(0).mean()
        lines.append(
            f"| {item.source.name} | {item.source.what} | {words} | {network} "
            f"| {accuracy:.5f} ± {error:.5f} | {spread:.4f} of ideal |"
        )
    right = (ideal.argmax(2) == labels).mean(1)
    lines += [
        "",
        f"Ideal coins: accuracy {right.mean():.5f} ± {1.96 * right.std() / np.sqrt(samples):.5f}.",
    ]
    for item in evidence:
        lines += ["", f"## {item.source.name}", "", "| test | what | effect | p |", "|---|---|---|---|"]
        for finding in (*item.words, *item.network):
            lines.append(f"| {finding.name} | {finding.measure} | {finding.effect:.3g} | {finding.p:.3g} |")
    return "\n".join(lines) + "\n"


def draw(evidence: list[Evidence], ideal: NDArray[np.int32], path: Path) -> None:
    """A PNG: for each source, quantiles of the logits' means and spreads against the ideal ones."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.0 * len(evidence), 5.6), dpi=110, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(evidence), squeeze=False)
    for column, item in enumerate(evidence):
        means = ("mean of a logit", ideal.mean(0), item.logits.mean(0))
        spreads = ("spread of a logit", ideal.std(0), item.logits.std(0))
        for row, (name, want, have) in enumerate((means, spreads)):
            panel: Axes = axes[row, column]
            low, high = float(min(want.min(), have.min())), float(max(want.max(), have.max()))
            panel.plot([low, high], [low, high], color="#8C8C8C", linewidth=1)
            panel.plot(want.reshape(-1), have.reshape(-1), ".", color="#0072B2", markersize=3)
            panel.set_xlabel(f"{name}, ideal coins", fontsize=8)
            panel.tick_params(labelsize=7)
            if row == 0:
                state = "fair" if item.fair else "not fair"
                panel.set_title(f"{item.source.name}: {state}", fontsize=10)
    with replacing(path) as partial:
        figure.savefig(partial, format="png")
