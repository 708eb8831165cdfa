"""An ECP5's block RAMs: wide memories are cut into columns that leave few bits of them unused."""

from functools import cache
from itertools import accumulate, pairwise

#: Width and rows that one DP16KD has (Lattice FPGA-TN-02204, table 1).
SHAPES = ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384))


@cache
def columns(width: int, depth: int) -> tuple[int, ...]:
    """Widths, each a multiple of a block RAM's, that together hold ``depth`` rows of ``width`` bits in the
    fewest block RAMs."""
    return _cheapest(width, depth)[1]


@cache
def blocks(width: int, depth: int) -> int:
    """Block RAMs that ``columns`` takes."""
    return _cheapest(width, depth)[0]


def _cheapest(width: int, depth: int) -> tuple[int, tuple[int, ...]]:
    # best[bits]: the least cost of so many bits, and how many columns of each shape that is.
    best: list[tuple[int, tuple[int, ...]]] = [(0, (0,) * len(SHAPES))]
    for bits in range(1, width + 1):
        choices = []
        for place, (wide, rows) in enumerate(SHAPES):
            cost, counts = best[max(bits - wide, 0)]
            more = (*counts[:place], counts[place] + 1, *counts[place + 1 :])
            choices.append((cost - (-depth // rows), more))
        best.append(min(choices, key=lambda choice: (choice[0], sum(map(bool, choice[1])))))
    cost, counts = best[width]
    widths = [count * wide for count, (wide, _) in zip(counts, SHAPES, strict=True) if count]
    edges = [min(edge, width) for edge in accumulate(widths, initial=0)]
    return cost, tuple(past - first for first, past in pairwise(edges))
