"""``synflip coins``: evidence that the coins are fair, and that the tests would see it if they were not."""

import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from synflip import coin_effect, sp800_22, sp800_90b
from synflip.golden.cpu import Golden
from synflip.golden.kernels import CoinPlanes
from synflip.mtj import Junctions
from synflip.randomness import ALPHA, Finding, Taps, key_bits, key_findings, verdict, word_findings
from synflip.report.plotting import FAINT, RIGHT, new_figure, save
from synflip.spec import lfsr
from synflip.spec.coins import word_taps
from synflip.spec.lfsr import keys as lfsr_keys
from synflip.spec.model import CompiledModel
from synflip.spec.sizes import KEY_BITS
from synflip.util.atomic import replacing
from synflip.util.progress import bar

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLOCK_KEYS = 1 << 16
DEVICES = 16
ESTIMATED_BITS = 1_000_000  # that min-entropy is estimated from: as many as SP 800-90B wants
REGISTER_BITS = 1024  # of one key bit, of which the shortest LFSR is sought
JUMPS = 1 << 20  # steps up to which jumps are compared with stepping
#: Bits of the textbook LFSR whose XOR comes 64 later: x^64 + x^4 + x^3 + x + 1, full period.
TEXTBOOK_TAPS = (0, 1, 3, 4)

ESTIMATORS: dict[str, Callable[[NDArray[np.uint8]], float]] = {
    "most common value": sp800_90b.most_common,
    "collision": sp800_90b.collision,
    "Markov": sp800_90b.markov,
    "t-tuple": sp800_90b.t_tuple,
}

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
    """Findings on one source. ``logits``: [S, N, C] of the network with its coins.

    entropy: bits of min-entropy of a key bit, by estimator. register: length of the shortest LFSR that makes
        REGISTER_BITS values of one key bit, half of that if nothing linear is behind them.
        No verdict hangs on it.
    """

    source: Source
    words: list[Finding]
    network: list[Finding]
    logits: NDArray[np.int32]
    entropy: dict[str, float] = field(default_factory=dict)
    register: int = 0

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


def textbook_keys(seed: int) -> Keys:
    """Key n is the state of one 64-bit LFSR after n shifts by one: bits n .. n + 63 of its sequence."""
    start = np.array([lfsr.splitmix64(seed)[0] or 1], dtype="<u8")
    bits = np.unpackbits(start.view(np.uint8), bitorder="little")

    def keys(first: int, count: int) -> NDArray[np.uint64]:
        nonlocal bits
        while bits.size < first + count + KEY_BITS:
            # A polynomial's square has its exponents doubled, so a recurrence with wide steps makes many bits
            # at once.
            wide = 1 << ((bits.size // KEY_BITS).bit_length() - 1)
            length = wide * (KEY_BITS - max(TEXTBOOK_TAPS))
            starts = [bits.size - wide * (KEY_BITS - tap) for tap in TEXTBOOK_TAPS]
            parts = [bits[start : start + length] for start in starts]
            bits = np.concatenate([bits, np.bitwise_xor.reduce(parts)])
        windows = bits[first : first + count + KEY_BITS - 1].astype(np.uint64)
        width = 1
        while width < KEY_BITS:
            windows = windows[:-width] | windows[width:] << np.uint64(width)
            width *= 2
        return windows

    return keys


#: Junctions that differ, drift and remember a little, and the fold that ``calibration`` proposes for them.
REAL, REAL_FOLD = {"mismatch": 0.002, "drift": 0.001, "correlation": 0.02}, 5
BIASED = {"mismatch": 0.01, "drift": 0.001, "correlation": 0.05}


def sources() -> list[Source]:
    """The sources of the report: the ones that should be fair, and ones that should be caught."""

    def of_lfsr(seed: int) -> Keys:
        return lambda first, count: lfsr_keys(seed, first, count)

    def of_numpy(seed: int) -> Keys:
        generator = np.random.default_rng(seed)
        return lambda first, count: generator.integers(0, 1 << 64, count, dtype=np.uint64)

    def mtj(fold: int, physics: dict[str, float]) -> Callable[[int], Keys]:
        return lambda seed: junction_keys(Junctions(DEVICES, seed, **physics), fold)  # type: ignore[arg-type]

    xor = f"{DEVICES} junctions, {REAL_FOLD} raw bits XORed into one"
    register = "one 64-bit LFSR, a shift a row; word j from bit j"
    return [
        Source("lfsr", "LFSR113, the contract's words", True, of_lfsr),
        Source("mtj", xor, True, mtj(REAL_FOLD, REAL)),
        Source("host", "keys of numpy's PCG64 generator, the contract's words", True, of_numpy),
        Source("ideal", "torch.rand for every coin, with another seed: the tests' own error", True, None),
        Source("one word", "one word shared by all lanes of a row", False, of_lfsr, _one_word),
        Source("shift by one", register, False, textbook_keys, _from_bit),
        Source("mtj unfolded", "biased, correlated junctions, raw bits as they are", False, mtj(1, BIASED)),
    ]


def _one_word(output: int, bit: int) -> tuple[int, int, int]:
    return word_taps(0, bit)


def _from_bit(output: int, bit: int) -> tuple[int, int, int]:
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


def jumps_agree(seed: int, steps: int, report: Callable[[int], None] = lambda done: None) -> bool:
    """Whether jumping ahead arrives where stepping does: after every power of two of steps up to ``steps``,
    and the keys on the way, made by jumps, are outputs of the stepped states."""
    state = lfsr.seed_state(seed)
    jumped = lfsr_keys(seed, 0, -(-steps // 2))
    outputs = (
        np.stack([jumped & np.uint64(lfsr.MASK32), jumped >> np.uint64(32)], axis=1).reshape(-1).tolist()
    )
    for step in range(1, steps + 1):
        state = lfsr.step(state)
        if lfsr.output(state) != outputs[step - 1]:
            return False
        if step & (step - 1) == 0:
            if lfsr.jump(lfsr.seed_state(seed), step) != state:
                return False
            report(step)
    return True


def key_and_word_findings(keys: NDArray[np.uint64], bits: int, taps: Taps) -> list[Finding]:
    """Every test on keys and on the words of ``bits`` bits that they give."""
    return [*key_findings(keys), *sp800_22.findings(key_bits(keys)), *word_findings(keys, bits, taps)]


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
            item = Evidence(source, [], list(coin_effect.compare(found, ideal)), found)
            if source.keys is not None:
                drawn = source.keys(seed)(0, keys)
                item.words = key_and_word_findings(drawn, model.bits, source.taps)
                sequence = key_bits(drawn[: -(-ESTIMATED_BITS // KEY_BITS)])
                item.entropy = {name: estimate(sequence) for name, estimate in ESTIMATORS.items()}
                one = (drawn[:REGISTER_BITS] & np.uint64(1)).astype(np.uint8)
                item.register = sp800_22.shortest_register(one)
            evidence.append(item)
    return evidence, ideal


def summary(
    evidence: list[Evidence],
    ideal: NDArray[np.int32],
    labels: NDArray[np.integer],
    network: str,
    command: str,
    keys: int,
    jumps: bool,
) -> str:
    """The main tables. network: what was run; jumps: whether they agree with stepping."""
    samples, images, _ = ideal.shape
    right = (ideal.argmax(2) == labels).mean(1)
    lines = [
        _paragraph(
            f"Made by `{command}`: {samples:,} network samples of {images} test images on {network},",
            f"and {keys:,} keys a source. A verdict is *fair* if no test's p-value, times the number of",
            f"tests, is below {ALPHA}. Accuracy: of one network sample minus that with `torch.rand`,",
            f"which is {right.mean():.5f}, and half its 95 % interval.",
        ),
        "",
        "| source | | words | network | accuracy | spread of the logits |",
        "|---|---|---|---|---|---|",
    ]
    for item in evidence:
        words = "-" if not item.words else _verdict(item.words)
        difference, half = coin_effect.accuracy(item.logits, ideal, labels)
        spread = item.logits.std(0).mean() / ideal.std(0).mean()
        lines.append(
            f"| {item.source.name} | {item.source.what} | {words} | {_verdict(item.network)} "
            f"| {difference:+.5f} ± {half:.5f} | {spread:.4f} of ideal |"
        )
    lines += [
        "",
        _paragraph(
            "How far the network's numbers are from those with `torch.rand`. Where nothing was found:",
            "no effect of that kind, on any image and class, is larger, with 95 % confidence. Else, in",
            "bold: the least likely effect and its interval.",
        ),
        "",
        "| | measure |" + "".join(f" {item.source.name} |" for item in evidence),
        "|---|---|" + "---|" * len(evidence),
    ]
    for row in zip(*(item.network for item in evidence), strict=True):
        if any(finding.bound is not None for finding in row):
            lines.append(f"| {row[0].name} | {row[0].measure} |" + "".join(f" {_size(one)} |" for one in row))
    tested = [item for item in evidence if item.words]
    lines += [
        "",
        _paragraph(
            f"Min-entropy of a key bit, from {min(ESTIMATED_BITS, keys * KEY_BITS):,} of them (SP 800-90B,",
            "section 6.3; bounds, which are below 1 for fair bits too), and the length of the shortest",
            f"LFSR that makes {min(REGISTER_BITS, keys):,} values of bit 0 of a key: half of that if nothing",
            "is linear.",
        ),
        "",
        "| source |" + "".join(f" {name} |" for name in ESTIMATORS) + " shortest LFSR |",
        "|---|" + "---|" * (len(ESTIMATORS) + 1),
    ]
    for item in tested:
        values = "".join(f" {item.entropy[name]:.4f} |" for name in ESTIMATORS)
        lines.append(f"| {item.source.name} |{values} {item.register} |")
    lines += [
        "",
        f"Jump-ahead of LFSR113 against {JUMPS:,} steps: keys, and the states after each power of two, "
        + ("agree." if jumps else "**differ**."),
    ]
    return "\n".join(lines) + "\n"


def details(evidence: list[Evidence]) -> str:
    """Every finding on every source."""
    lines = []
    for item in evidence:
        lines += [
            f"## {item.source.name}",
            "",
            "| test | what | effect | 95 % | p |",
            "|---|---|---|---|---|",
        ]
        for finding in (*item.words, *item.network):
            between = "" if finding.interval is None else "{:.3g} .. {:.3g}".format(*finding.interval)
            lines.append(
                f"| {finding.name} | {finding.measure} | {finding.effect:.3g} | {between} | {finding.p:.3g} |"
            )
        lines.append("")
    return "\n".join(lines)


def _paragraph(*parts: str) -> str:
    return textwrap.fill(" ".join(parts), 118, break_long_words=False, break_on_hyphens=False)


def _verdict(findings: list[Finding]) -> str:
    return "fair" if verdict(findings) else "**not fair**"


def _size(finding: Finding) -> str:
    if finding.bound is None or finding.interval is None:
        return "-"
    if finding.p < ALPHA:
        low, high = finding.interval
        return f"**{finding.effect:.3g}** ({low:.3g} .. {high:.3g})"
    return f"{finding.bound:.2g}"


def draw(evidence: list[Evidence], ideal: NDArray[np.int32], path: Path) -> None:
    """A PNG: by source of the coins, every logit's mean, spread, and correlation with the next class's,
    against those with ideal coins."""
    figure = new_figure(2.7 * len(evidence), 7.6)
    axes = figure.subplots(3, len(evidence), squeeze=False)
    wanted = _moments(ideal)
    for column, item in enumerate(evidence):
        for row, (name, have) in enumerate(_moments(item.logits).items()):
            want = wanted[name]
            panel: Axes = axes[row, column]
            low, high = float(min(want.min(), have.min())), float(max(want.max(), have.max()))
            panel.plot([low, high], [low, high], color=FAINT, linewidth=1)
            panel.plot(want, have, ".", color=RIGHT, markersize=3)
            panel.set_xlabel(f"{name}, ideal coins", fontsize=8)
            panel.tick_params(labelsize=7)
            if row == 0:
                panel.set_title(f"{item.source.name}: {'fair' if item.fair else 'not fair'}", fontsize=10)
    with replacing(path) as partial:
        save(figure, partial)


def _moments(logits: NDArray[np.int32]) -> dict[str, NDArray[np.float64]]:
    """[N * C] of each logit."""
    centred = logits - logits.mean(0)
    spread = np.maximum(centred.std(0), 1e-9)
    both = (centred * np.roll(centred, -1, axis=2)).mean(0) / (spread * np.roll(spread, -1, axis=1))
    return {
        "mean of a logit": logits.mean(0).reshape(-1),
        "spread": spread.reshape(-1),
        "correlation with the next class": both.reshape(-1),
    }
