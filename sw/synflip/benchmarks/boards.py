"""Network samples a second on each board, by the cycle model, and published figures of other accelerators."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synflip.benchmarks.networks import SEED, Models
from synflip.golden.cpu import Golden
from synflip.inference.throughput import predict
from synflip.report.sections import find_section

#: Names of the bench and of the predictions.
NETWORKS = {"mnist-200": "mnist 784-200-200-10", "mnist-512": "mnist 784-512-512-10"}
ERROR = 0.003  # share of images that may leave with another class than the full vote's
SAMPLES, QUICK_SAMPLES, QUICK_IMAGES = 64, 8, 200
FEWER_BITS = 2  # of probability words, where a network does not fit with the board's own


@dataclass(frozen=True)
class Published:
    """A published figure of another accelerator. like: whether it can be compared, and why."""

    name: str
    device: str
    network: str
    images: str
    like: str
    source: str


PUBLISHED = (
    Published(
        "VIBNN", "Cyclone V", "784-200-200-10", "321,543",
        "yes: the same network, Gaussian samples of its weights",
        "Cai et al., ASPLOS 2018, doi 10.1145/3173162.3173212",
    ),
    Published(
        "BYNQNet", "PYNQ-Z1", "its own, MNIST", "131,000",
        "no: uncertainty without sampling, moments in one pass",
        "Awano and Hashimoto, DATE 2020",
    ),
    Published(
        "FINN SFC-max", "ZC706", "784-256-256-256-10, binary", "12,300,000",
        "no: no sampling, no uncertainty; an engine built for one network",
        "Umuroglu et al., FPGA 2017, arXiv 1612.07119",
    ),
    Published(
        "B2N2", "ZCU104", "its own", "not given here; 81,661 LUTs, 465 DSPs",
        "by area only: Bernoulli numbers added up to Gaussian weights",
        "Awano and Hashimoto, Integration, 2023, doi 10.1016/j.vlsi.2022.11.005",
    ),
)  # fmt: skip


def run(models: Models) -> dict[str, Any]:
    """Predicted network samples a second by board and network, without the link to a host, and the mean
    number of samples an image with early stopping, as the golden model counts them."""
    from synflip_hdl.boards.catalogue import BOARDS

    rows = []
    for board in BOARDS.values():
        sizes = [board.geometry]
        if board.geometry.bits > FEWER_BITS:
            sizes.append(board.sized(None, FEWER_BITS, 0))
        other = len({(size.lanes, size.banks) for size in sizes}) > 1
        predicted = [predict(size, board.clock_of(size)) for size in sizes]
        for name in NETWORKS.values():
            found = [
                {
                    "geometry": size.name,
                    "clock": board.clock_of(size),
                    **next(item for item in items if item["network"] == name),
                    "bits": size.bits,
                }
                for size, items in zip(sizes, predicted, strict=True)
            ]
            fitting = [entry for entry in found if entry["fits"]]
            # With fewer bits of probability where a network does not fit, or the accelerator is a larger one.
            for entry in (fitting if other else fitting[:1]) or found[:1]:
                rows.append({"board": board.name, "device": board.device} | entry)
    return {"rows": rows, "early": {name: early(models, name) for name in NETWORKS}}


def early(models: Models, name: str) -> dict[str, float]:
    """Early stopping with margins for ERROR: mean samples an image, and how many classes are the full
    vote's."""
    from synflip.evaluation import margins

    models.say(f"early stopping: {name}")
    model, pixels = models.model(name), models.data(name).test_images
    samples = QUICK_SAMPLES if models.quick else SAMPLES
    if models.quick:
        pixels = pixels[:QUICK_IMAGES]
    golden = Golden()
    golden.load(model)
    winners = margins.winners(golden, pixels, samples, SEED)
    classes = len(model.classes)
    table = margins.margins(margins.fit_shape(margins.count(winners[:, ::2], classes)), samples, ERROR)
    trial = margins.try_margins(winners[:, 1::2], table, classes, None)
    return {"samples": trial.samples, "agrees": trial.agrees, "most": samples, "error": ERROR}


def reached(page: Path) -> dict[tuple[str, str], tuple[float, float | None]]:
    """By board and accelerator: the clock asked for and the one reached, in MHz, as the table of builds in
    ``page`` says."""
    if not page.exists():
        return {}
    _, text, _ = find_section(page, "builds")
    found: dict[tuple[str, str], tuple[float, float | None]] = {}
    for line in text.splitlines():
        clocks = re.search(r"\| ([\d.]+)(?:, ([\d.]+))? MHz", line)
        if clocks:
            board, _, accelerator = (cell.strip() for cell in line.split("|")[1:4])
            found[board, accelerator] = (float(clocks[1]), float(clocks[2]) if clocks[2] else None)
    return found
