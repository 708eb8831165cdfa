"""Tables of the headline. Titles of figures of ours say that they are predicted, and what they include."""

from collections.abc import Sequence

from synflip.benchmarks.headline.figures import ERROR, SLOW, VOTES, Build, Figures, Misfit
from synflip.benchmarks.headline.published import PUBLISHED, SUPPLIES
from synflip.inference.throughput import ADAPTER
from synflip.report.tables import Table
from synflip.spec.frames import BAUD

FULL = VOTES[-1]


def ours(builds: Sequence[Build], found: Sequence[Figures | Misfit]) -> list[Table]:
    """Builds; rates with their accuracy; latencies."""
    fitting = [item for item in found if isinstance(item, Figures)]
    return [
        _builds(builds),
        Table(
            "Rates of images that are in the accelerator already, predicted by the cycle model over all test "
            "images, not measured on a board; the serial line: at most, with one sample of each image, of "
            f"{BAUD / 1e6:g} Mbaud and {1000 * ADAPTER:g} ms of the USB adapter, there and back",
            (
                *(
                    "board",
                    "accelerator",
                    "network",
                    "samples/s, one image",
                    "samples/s, in batches",
                    "GOP/s",
                ),
                *("samples/s a LUT", "samples/s a block RAM", "uJ a sample, at most"),
                *("images/s over the serial line", "one sample, %", f"vote of {FULL}, %", "NLL", "ECE"),
            ),
            [_rate(item) for item in found],
        ),
        Table(
            "Latency of one image in microseconds, start to done, predicted by the cycle model, mean over "
            f"all test images; stopping early with margins for an error of {ERROR:g}",
            (
                *("board", "accelerator", "network"),
                *("one sample" if count == 1 else f"vote of {count}" for count in VOTES),
                *("stopping early, mean", f"stopping early, {SLOW}th percentile", "samples used, mean"),
                *("samples at most", "its class, %"),
            ),
            [_latency(item) for item in fitting],
        ),
    ]


def published() -> Table:
    """Other accelerators."""
    heads = (
        *("accelerator", "device", "network", "rate", "latency", "energy", "area", "accuracy"),
        *("like for like with one sample?", "predicted, simulated or measured", "source"),
    )
    rows = [
        (
            p.name,
            p.device,
            p.network,
            p.rate,
            p.latency,
            p.energy,
            p.area,
            p.accuracy,
            p.like,
            p.how,
            p.source,
        )
        for p in PUBLISHED
    ]
    return Table("Published, as each source states it; nothing of it measured here", heads, rows)


def _builds(builds: Sequence[Build]) -> Table:
    sources = "; ".join(
        f"{name} {supply.volts:g} V, {supply.amperes:g} A, {supply.source}"
        for name, supply in SUPPLIES.items()
        if any(build.board == name for build in builds)
    )
    heads = (
        *("board", "device", "accelerator", "clock, MHz", "reached", "LUTs", "block RAMs", "DSPs"),
        *("coins/s at most, G", "W at most, the whole board"),
    )
    rows = [
        (
            *(build.board, build.device, build.accelerator, f"{build.clock / 1e6:g}"),
            *("yes" if build.placed else "not placed here", build.luts, build.block_rams, build.dsps),
            *(f"{build.coins_per_second / 1e9:.1f}", None if build.watts is None else f"{build.watts:g}"),
        )
        for build in builds
    ]
    limits = f"limits of the supply: {sources}" if sources else "no limit of these boards' supplies is known"
    return Table(f"Builds, as their tools report them; {limits}", heads, rows)


def _rate(item: Figures | Misfit) -> tuple[object, ...]:
    head = (item.build.board, item.build.accelerator, item.network)
    if isinstance(item, Misfit):
        return (*head, f"does not fit: {item.why}", *[None] * 10)
    batch, joules, vote = item.samples_per_second["batch"], item.joules_a_sample, item.quality[FULL]
    return (
        *(*head, round(item.samples_per_second["single"]), round(batch)),
        *(f"{item.operations_per_second / 1e9:.1f}", f"{batch / item.build.luts:.1f}"),
        *(round(batch / item.build.block_rams), None if joules is None else f"{1e6 * joules:.2f}"),
        *(item.line_images_per_second, item.quality[1].accuracy, vote.accuracy, vote.nll, vote.ece),
    )


def _latency(item: Figures) -> tuple[object, ...]:
    early = item.early
    return (
        *(item.build.board, item.build.accelerator, item.network),
        *(f"{1e6 * seconds:.1f}" for seconds in item.latency.values()),
        *(f"{1e6 * early[name]:.1f}" for name in ("mean", "slow")),
        *(f"{early['samples']:.2f}", int(early["most"]), early["accuracy"]),
    )
