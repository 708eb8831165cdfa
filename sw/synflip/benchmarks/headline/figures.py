"""The figures of a network on a build: rates and latencies by the cycle model, over all test images."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from synflip_hdl.boards.catalogue import every_board
from synflip_hdl.flow.boards_page import read_report

from synflip import modelfile
from synflip.benchmarks.headline.published import SUPPLIES
from synflip.data.dataset import Dataset
from synflip.data.registry import NAMES, data_name, load
from synflip.errors import SynflipError
from synflip.evaluation import margins
from synflip.golden.cpu import Golden
from synflip.golden.run_clock import RunClock
from synflip.inference.end_to_end import line_rate
from synflip.inference.plan import Plan, check_fit, plan
from synflip.inference.request import Progress
from synflip.spec.fronts import Front, Link
from synflip.spec.geometry import Geometry
from synflip.spec.model import CompiledModel
from synflip.uncertainty.aggregate import vote
from synflip.uncertainty.metrics import Metrics, metrics

SEED = 0  # of the coins
VOTES = (1, 16, 64)  # network samples of one image whose latencies are given; the last is the full vote
ERROR = 0.003  # share of images that may leave with another class than the full vote's
SLOW = 99  # the percentile of latencies that is given beside their mean
#: The entries of a build's report that are used here.
KEYS = ("board", "device", "geometry", "resources", "cells", "clock_asked_hz", "clock_reached_hz")
#: Cells that multiply, by the names that Yosys gives them: of ECP5, iCE40, Gowin and Xilinx.
MULTIPLIERS = re.compile(r"MULT|ALU54|SB_MAC16|DSP48")


@dataclass(frozen=True)
class Build:
    """A build of a board, from its report. clock: Hz, the one asked for, or the one reached if that is less.
    placed: whether place and route said which clock is reached. dsps: cells that multiply."""

    board: str
    device: str
    geometry: Geometry
    clock: float
    placed: bool
    luts: int
    block_rams: int
    dsps: int

    @classmethod
    def read(cls, folder: Path) -> "Build":
        """The build in ``folder``. Raises SynflipError if there is none."""
        report = read_report(folder, KEYS)
        asked, reached = report["clock_asked_hz"], report["clock_reached_hz"]
        used = {name: item["used"] for name, item in report["resources"].items()}
        return cls(
            report["board"],
            report["device"],
            Geometry.parse(report["geometry"]),
            min(asked, reached or asked),
            reached is not None,
            used["LUTs"],
            used["block RAMs"],
            sum(count for cell, count in report["cells"].items() if MULTIPLIERS.match(cell)),
        )

    @property
    def accelerator(self) -> str:
        """Its size and k, as tables name it."""
        return f"{self.geometry.name}, k = {self.geometry.bits}"

    @property
    def serial_line(self) -> Link | None:
        """The board's serial line, None if it has none. That of a board that is not here takes no requests
        ahead."""
        board = every_board().get(self.board)
        if board is None:
            return Link.serial
        return board.link(Front.serial) if board.serial else None

    @property
    def coins_per_second(self) -> float:
        """At most: a coin for each lane and bank in each cycle; 64x8 at 100 MHz: 51.2e9."""
        return self.geometry.lanes * self.geometry.banks * self.clock

    @property
    def watts(self) -> float | None:
        """The most power that the board takes by its own document; None if that states no limit."""
        return SUPPLIES[self.board].watts if self.board in SUPPLIES else None


@dataclass(frozen=True)
class Figures:
    """A network on a build. Predicted by the cycle model for images that are in the accelerator already.

    samples_per_second: network samples a second, by ``single``, one image at a time, and ``batch``, in the
        batches in which many images run, with VOTES[-1] network samples of each image.
    latency: seconds from start to done of a run of one image, mean over the test images, by the number of
        network samples, VOTES.
    early: of stopping early, tried on every second image with margins fitted to the others: ``most`` samples
        an image at most, ``samples`` mean, ``mean`` and ``slow`` latencies in seconds (``slow``: of the
        percentile SLOW), ``accuracy``.
    quality: of the vote, by its number of network samples.
    """

    build: Build
    network: str
    synapses: int
    samples_per_second: dict[str, float]
    latency: dict[int, float]
    early: dict[str, float]
    quality: dict[int, Metrics]
    line_images_per_second: int | None

    @property
    def operations_per_second(self) -> float:
        """Of the same rate of a dense network that skips nothing: two a synapse and network sample."""
        return 2 * self.synapses * self.samples_per_second["batch"]

    @property
    def joules_a_sample(self) -> float | None:
        """At most: the power that the board takes at most, over the rate in batches."""
        watts = self.build.watts
        return None if watts is None else watts / self.samples_per_second["batch"]

    def numbers(self) -> dict[str, Any]:
        """All of it, for JSON."""
        build = self.build
        return {
            "board": build.board,
            "device": build.device,
            "geometry": build.geometry.text,
            "clock_hz": build.clock,
            "clock_is_reached": build.placed,
            "luts": build.luts,
            "block_rams": build.block_rams,
            "dsps": build.dsps,
            "coins_per_second": build.coins_per_second,
            "watts_at_most": build.watts,
            "network": self.network,
            "synapses": self.synapses,
            "samples_per_second": self.samples_per_second,
            "operations_per_second": self.operations_per_second,
            "joules_a_sample_at_most": self.joules_a_sample,
            "latency_seconds": self.latency,
            "early": self.early,
            "quality": {count: found.as_dict() for count, found in self.quality.items()},
            "line_images_per_second": self.line_images_per_second,
        }


@dataclass(frozen=True)
class Misfit:
    """A network that a build cannot hold at once, and why."""

    build: Build
    network: str
    why: str

    def numbers(self) -> dict[str, Any]:
        """All of it, for JSON."""
        build = self.build
        return {
            "board": build.board, "geometry": build.geometry.text, "network": self.network, "why": self.why
        }  # fmt: skip


@dataclass(frozen=True)
class Network:
    """A compiled network of a data set with a name. board: the one that it was made for; None: any."""

    model: CompiledModel
    data: str
    board: str | None

    @property
    def name(self) -> str:
        """Its data set and its shape."""
        return f"{self.data} {self.model.shape}"

    def misfit(self, build: Build) -> str | None:
        """Why the build cannot hold the network; None if it can."""
        try:
            check_fit(self.model, build.geometry)
        except SynflipError as error:
            return str(error).partition(": ")[2]
        return None

    def meant_for(self, build: Build) -> bool:
        """Whether the build has the network's k and A, and is of its board if it has one."""
        mine, other = self.model, build.geometry
        same = (mine.bits, mine.activation_bits) == (other.bits, other.activation_bits)
        return same and self.board in (None, build.board)


def read_networks(folder: Path) -> list[Network]:
    """The networks in the files ``*.safetensors`` of ``folder``. A file that is called like a board, as
    ``synflip boards --networks`` writes one for each, is meant for that board only.

    Raises SynflipError, also for a network of data without a name, whose test images are not known.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise SynflipError(f"{folder} has no networks: make them with synflip boards --networks {folder}")
    boards, found = every_board(), []
    for file in files:
        model = modelfile.load(file)
        data = data_name(model)
        if data is None:
            raise SynflipError(f"{file} does not say which of {', '.join(NAMES)} it was trained on")
        found.append(Network(model, data, file.stem if file.stem in boards else None))
    return found


class Runs:
    """All network samples, VOTES[-1], of a data set's test images through a network on a build.

    logits: int32 [S, N, C]. loads: the cycle model's, [S, N, layers, 3]. events: activations of an image that
    are not 0, in the mean.
    """

    def __init__(self, build: Build, model: CompiledModel, data: Dataset, progress: Progress) -> None:
        self.build, self.model, self.labels = build, model, data.test_labels
        x = torch.from_numpy(model.activations(data.for_model(data.test_images, model)))
        self.count, samples = len(x), VOTES[-1]
        self.events = (x != 0).double().mean().item() * model.inputs
        logits, loads = [], []
        with Golden(build.geometry) as golden:
            golden.load(model)
            for sample in range(samples):
                z, load = golden.forward(x, golden.coins(SEED, sample), True)
                logits.append(z)
                loads.append(load)
                progress(sample + 1, samples)
        self.logits, self.loads = np.stack(logits), np.stack(loads)

    @cached_property
    def winners(self) -> NDArray[np.int64]:
        """[S, N], each network sample's class of each image."""
        return self.logits.argmax(2)

    def quality(self) -> dict[int, Metrics]:
        """Of the votes of VOTES network samples."""
        return {count: metrics(vote(self.logits[:count], 1.0), self.labels) for count in VOTES}

    def cycles(self, runs: Plan) -> dict[int, NDArray[np.int64]]:
        """Cycles of each batch by its network samples, VOTES."""
        clock = RunClock(self.build.geometry, self.model, runs, self.count, VOTES[-1], early=False)
        found, every = {}, np.arange(self.count)
        for sample, loads in enumerate(self.loads):
            clock.advance(every, loads)
            if sample + 1 in VOTES:
                found[sample + 1] = clock.batches_cycles()
        return found

    def early(self) -> dict[str, float]:
        """``Figures.early``."""
        geometry, classes = self.build.geometry, len(self.model.classes)
        most = min(VOTES[-1], geometry.margin_depth, (1 << geometry.sample_bits) - 1)
        winners = self.winners[:most]
        shape = margins.fit_shape(margins.count(winners[:, ::2], classes))
        table = margins.margins(shape, most, ERROR)
        others = slice(1, None, 2)
        used, decided = margins.stopped(winners[:, others], table, classes)
        clock = RunClock(geometry, self.model, Plan(1, most), len(used), most, early=True)
        for sample in range(used.max()):
            active = np.flatnonzero(used > sample)
            clock.advance(active, self.loads[sample, others][active])
        seconds = clock.batches_cycles() / self.build.clock
        return {
            "error": ERROR,
            "most": most,
            "samples": float(used.mean()),
            "mean": float(seconds.mean()),
            "slow": float(np.percentile(seconds, SLOW)),
            "accuracy": float((decided == self.labels[others]).mean()),
        }


def figures(build: Build, network: Network, data: Dataset, progress: Progress) -> Figures:
    """Run a network that fits over all test images of its data set. Raises SynflipError."""
    model, samples, clock = network.model, VOTES[-1], build.clock
    found = Runs(build, model, data, progress)
    runs = plan(model, build.geometry, found.count, samples, early=False, logits=False)
    alone, many = found.cycles(Plan(1, runs.samples)), found.cycles(runs)
    passes = found.count * samples
    line = build.serial_line
    return Figures(
        build,
        network.name,
        sum(layer.q.size for layer in model.layers),
        {
            name: clock * passes / int(cycles[samples].sum())
            for name, cycles in (("single", alone), ("batch", many))
        },
        {count: float(cycles.mean()) / clock for count, cycles in alone.items()},
        found.early(),
        found.quality(),
        None if line is None else round(line_rate(model, build.geometry, found.events, line)),
    )


def run(
    builds: Sequence[Build],
    networks: Sequence[Network],
    progress: Callable[[int, int, str], None] = lambda *_: None,
) -> list[Figures | Misfit]:
    """Every network on every build that it is meant for. progress: called with the network samples done,
    those of all, and what runs.

    Raises SynflipError, also if no network runs on any of the builds.
    """
    pairs = [(build, network) for build in builds for network in networks if network.meant_for(build)]
    reasons = [network.misfit(build) for build, network in pairs]
    if None not in reasons:
        raise SynflipError(
            "none of the networks runs on any of the builds: train one with --for BOARD, which takes the "
            "board's k and A and sizes that fit"
        )
    data = {name: load(name) for name in dict.fromkeys(network.data for _, network in pairs)}
    total, found = VOTES[-1] * reasons.count(None), list[Figures | Misfit]()
    for (build, network), why in zip(pairs, reasons, strict=True):
        if why is not None:
            found.append(Misfit(build, network.name, why))
            continue
        before = VOTES[-1] * sum(isinstance(item, Figures) for item in found)
        say = partial(_say, progress, before, total, f"{network.name} on {build.board}")
        found.append(figures(build, network, data[network.data], say))
    return found


def _say(
    progress: Callable[[int, int, str], None], before: int, total: int, what: str, done: int, _: int
) -> None:
    progress(before + done, total, what)
