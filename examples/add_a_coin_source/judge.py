"""Judge a source of keys as `synflip coins` judges its own.

    python examples/add_a_coin_source/judge.py

First the gateware is compared with numpy, key by key. Then the keys, and the words of k bits that decide the
coins, go through the statistical tests, beside a counter that is there to show that they can fail.
"""

import numpy as np
import xorshift
from amaranth.sim import Simulator
from synflip.randomness.evidence import key_and_word_results
from synflip.randomness.statistical_tests import ALPHA, verdict
from synflip.spec.coins import word_taps
from synflip.spec.memory_map import Region

SEED, BANKS, CYCLES, KEYS, BITS = 88172645463325252, 2, 50, 50_000, 4


def simulated() -> np.ndarray:
    """The gateware's first BANKS * CYCLES keys after SEED was loaded."""
    source, found = xorshift.XorshiftSource(BANKS), []

    async def bench(ctx):
        ctx.set(source.host.write, 1 << Region.SEEDS)
        for half in range(2):
            ctx.set(source.host.offset, half)
            ctx.set(source.host.data, SEED >> 32 * half & 0xFFFFFFFF)
            await ctx.tick()
        ctx.set(source.host.write, 0)
        ctx.set(source.keys.ready, 1)
        for _ in range(CYCLES):
            found.extend(ctx.get(source.keys.payload[bank]) for bank in range(BANKS))
            await ctx.tick()

    simulator = Simulator(source)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return np.array(found, dtype=np.uint64)


def counter(seed: int, count: int) -> np.ndarray:
    """Keys that are evenly spread and not random at all: multiples of the golden ratio."""
    return np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)


same = np.array_equal(simulated(), xorshift.keys(SEED, BANKS * CYCLES))
print(f"gateware and numpy: {BANKS * CYCLES} keys {'are equal' if same else 'DIFFER'}")
for name, keys in (("xorshift64", xorshift.keys(SEED, KEYS)), ("counter", counter(SEED, KEYS))):
    results = key_and_word_results(keys, BITS, word_taps)
    worst = min(results, key=lambda result: result.p)
    print(f"\n{name}: {'fair' if verdict(results) else 'NOT fair'}, by {len(results)} tests of {KEYS:,} keys")
    print(f"  smallest p-value {worst.p:.2g} ({worst.name}); refused below {ALPHA / len(results):.2g}")
