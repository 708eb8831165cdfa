"""The report of ``synflip coins``: fair sources pass the tests, and unfair ones fail them."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from synflip.randomness import coin_effect
from synflip.randomness.evidence import ESTIMATED_BITS, ESTIMATORS, JUMPS, REGISTER_BITS, Evidence
from synflip.randomness.statistical_tests import (
    ALPHA,
    TestResult,
    verdict,
)
from synflip.report.plotting import FAINT, RIGHT, new_figure, save
from synflip.report.tables import markdown_table
from synflip.spec.sizes import KEY_BITS
from synflip.util.outputs import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def summary(
    evidence: list[Evidence],
    ideal: NDArray[np.int32],
    labels: NDArray[np.integer],
    network: str,
    command: str,
    keys: int,
    jumps: bool,
) -> str:
    """The main tables as Markdown.

    ideal: int32 [S, N, C], logits with ideal coins. labels: [N]. network, command, keys: what was run, for
    the text. jumps: whether jumps of LFSR113 agree with single steps.
    """
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
    ]
    rows = []
    for item in evidence:
        words = "-" if not item.words else _verdict(item.words)
        difference, half = coin_effect.accuracy(item.logits, ideal, labels)
        spread = item.logits.std(0).mean() / ideal.std(0).mean()
        rows.append(
            (
                item.source.name,
                item.source.what,
                words,
                _verdict(item.network),
                f"{difference:+.5f} ± {half:.5f}",
                f"{spread:.4f} of ideal",
            )
        )
    lines += [
        markdown_table(("source", "", "words", "network", "accuracy", "spread of the logits"), rows),
        "",
        _paragraph(
            "How far the network's numbers are from those with `torch.rand`. Where nothing was found:",
            "no effect of that kind, on any image and class, is larger, with 95 % confidence. Else, in",
            "bold: the least likely effect and its interval.",
        ),
        "",
        markdown_table(
            ("", "measure", *(item.source.name for item in evidence)),
            [
                (results[0].name, results[0].measure, *map(_size, results))
                for results in zip(*(item.network for item in evidence), strict=True)
                if any(result.bound is not None for result in results)
            ],
        ),
        "",
        _paragraph(
            f"Min-entropy of a key bit, from {min(ESTIMATED_BITS, keys * KEY_BITS):,} of them (SP 800-90B,",
            "section 6.3; bounds, which are below 1 for fair bits too), and the length of the shortest",
            f"LFSR that makes {min(REGISTER_BITS, keys):,} values of bit 0 of a key: half of that if nothing",
            "is linear.",
        ),
        "",
        markdown_table(
            ("source", *ESTIMATORS, "shortest LFSR"),
            [
                (item.source.name, *(f"{item.entropy[name]:.4f}" for name in ESTIMATORS), item.register)
                for item in evidence
                if item.words
            ],
        ),
        "",
        f"Jump-ahead of LFSR113 against {JUMPS:,} steps: keys, and the states after each power of two, "
        + ("agree." if jumps else "**differ**."),
    ]
    return "\n".join(lines) + "\n"


def details(evidence: list[Evidence]) -> str:
    """Every result on every source: a section and a table for each."""
    heads = ("test", "what", "effect", "95 %", "p")
    parts = []
    for item in evidence:
        rows = []
        for result in (*item.words, *item.network):
            between = "" if result.interval is None else "{:.3g} .. {:.3g}".format(*result.interval)
            rows.append((result.name, result.measure, f"{result.effect:.3g}", between, f"{result.p:.3g}"))
        parts.append(f"## {item.source.name}\n\n{markdown_table(heads, rows)}\n")
    return "\n".join(parts)


def _paragraph(*parts: str) -> str:
    return textwrap.fill(" ".join(parts), 118, break_long_words=False, break_on_hyphens=False)


def _verdict(results: list[TestResult]) -> str:
    return "fair" if verdict(results) else "**not fair**"


def _size(result: TestResult) -> str:
    if result.bound is None or result.interval is None:
        return "-"
    if result.p < ALPHA:
        low, high = result.interval
        return f"**{result.effect:.3g}** ({low:.3g} .. {high:.3g})"
    return f"{result.bound:.2g}"


def draw(evidence: list[Evidence], ideal: NDArray[np.int32], what: str, path: Path) -> None:
    """A PNG with a row for each source of the coins: every logit's mean, spread, and correlation with the
    next class's, against those with ideal coins. It is as narrow as a phone can show. what: the network and
    the data, for the title."""
    figure = new_figure(6, 1 + 1.9 * len(evidence))
    axes = figure.subplots(len(evidence), 3, squeeze=False)
    wanted = _moments(ideal)
    for row, item in enumerate(evidence):
        for column, (name, have) in enumerate(_moments(item.logits).items()):
            want = wanted[name]
            panel: Axes = axes[row, column]
            low, high = float(min(want.min(), have.min())), float(max(want.max(), have.max()))
            panel.plot([low, high], [low, high], color=FAINT, linewidth=1)
            panel.plot(want, have, ".", color=RIGHT, markersize=3)
            panel.locator_params(nbins=3)
            panel.tick_params(labelsize=9)
            if row == 0:
                panel.set_title(name, fontsize=11)
            if column == 0:
                panel.set_ylabel(f"{item.source.name}:\n{'fair' if item.fair else 'not fair'}", fontsize=11)
    figure.supxlabel("with ideal coins, of torch.rand", fontsize=11)
    figure.suptitle(f"Logits of {what}", fontsize=12)
    with replacing(path) as partial:
        save(figure, partial)


def _moments(logits: NDArray[np.int32]) -> dict[str, NDArray[np.float64]]:
    """Mean, spread, and correlation with the next class's logit: [N * C] each, of logits [S, N, C]."""
    centred = logits - logits.mean(0)
    spread = np.maximum(centred.std(0), 1e-9)
    both = (centred * np.roll(centred, -1, axis=2)).mean(0) / (spread * np.roll(spread, -1, axis=1))
    return {
        "mean of a logit": logits.mean(0).reshape(-1),
        "spread": spread.reshape(-1),
        "correlation with\nthe next class's": both.reshape(-1),
    }
