"""Gathering evidence: all tests of each source of keys, and of a network whose coins it makes."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from synflip.golden.cpu import Golden
from synflip.golden.kernels import CoinPlanes
from synflip.randomness import coin_effect, sp800_22, sp800_90b
from synflip.randomness.sources import Source, sources
from synflip.randomness.statistical_tests import (
    Taps,
    TestResult,
    key_bits,
    key_results,
    verdict,
    word_results,
)
from synflip.spec import lfsr
from synflip.spec.lfsr import keys as lfsr_keys
from synflip.spec.model import CompiledModel
from synflip.spec.sizes import KEY_BITS
from synflip.util.progress import bar

BLOCK_KEYS = 1 << 16  # keys drawn at once

ESTIMATED_BITS = 1_000_000  # min-entropy is estimated from as many, which SP 800-90B asks for

REGISTER_BITS = 1024  # values of one key bit for which the shortest LFSR is sought

JUMPS = 1 << 20  # steps up to which jumps are compared with stepping

ESTIMATORS: dict[str, Callable[[NDArray[np.uint8]], float]] = {
    "most common value": sp800_90b.most_common,
    "collision": sp800_90b.collision,
    "Markov": sp800_90b.markov,
    "t-tuple": sp800_90b.t_tuple,
}


@dataclass
class Evidence:
    """What the tests found about one source. ``logits``: [S, N, C] of the network with its coins.

    entropy: bits of min-entropy of a key bit, by estimator. register: length of the shortest LFSR that makes
        REGISTER_BITS values of one key bit, half of that if nothing linear is behind them.
        No verdict hangs on it.
    """

    source: Source
    words: list[TestResult]
    network: list[TestResult]
    logits: NDArray[np.int32]
    entropy: dict[str, float] = field(default_factory=dict)
    register: int = 0

    @property
    def fair(self) -> bool:
        """Whether the source passes every test: of its words, if it has any, and of the network."""
        return (not self.words or verdict(self.words)) and verdict(self.network)

    def numbers(self) -> dict[str, Any]:
        """All but the logits, for JSON. ``fair`` is the verdict, ``fair_by_design`` the one expected."""
        return {
            "name": self.source.name,
            "fair": self.fair,
            "fair_by_design": self.source.fair,
            "min_entropy": self.entropy,
            "shortest_lfsr": self.register or None,
            "tests_of_words": [asdict(test) for test in self.words],
            "tests_of_the_network": [asdict(test) for test in self.network],
        }


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
    """Whether LFSR113's jumps agree with ``steps`` single steps from a seed.

    Compared are the states after 1, 2, 4, ... steps, and all keys on the way, which ``lfsr.keys`` makes by
    jumps. report: called with each power of two that agrees.
    """
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


def key_and_word_results(keys: NDArray[np.uint64], bits: int, taps: Taps) -> list[TestResult]:
    """Every test on keys and on the words of ``bits`` bits that they give."""
    return [*key_results(keys), *sp800_22.results(key_bits(keys)), *word_results(keys, bits, taps)]


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
                item.words = key_and_word_results(drawn, model.bits, source.taps)
                sequence = key_bits(drawn[: -(-ESTIMATED_BITS // KEY_BITS)])
                item.entropy = {name: estimate(sequence) for name, estimate in ESTIMATORS.items()}
                one = (drawn[:REGISTER_BITS] & np.uint64(1)).astype(np.uint8)
                item.register = sp800_22.shortest_register(one)
            evidence.append(item)
    return evidence, ideal
