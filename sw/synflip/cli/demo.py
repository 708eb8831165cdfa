"""``synflip demo``: train, compile, run on the golden model and in Verilator, compare, draw. No downloads."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from synflip.cli.console import write_json
from synflip.data.dataset import Dataset
from synflip.devices.registry import open_device
from synflip.errors import SynflipError
from synflip.inference.compare import accuracies, compare
from synflip.inference.result import Result
from synflip.spec.geometry import Geometry
from synflip.spec.model import CompiledModel
from synflip.util import terminal
from synflip.util.extras import EXTRAS, available, missing
from synflip.util.outputs import check_folder, check_new, check_outputs, replacing, write_array
from synflip.util.progress import bar, waiting
from synflip.workflows import BITS, SEED, train_digits

#: The packages that the simulated hardware and the picture need.
SIMULATION, DRAWING = ("amaranth", "verilator"), ("matplotlib",)
#: What it writes.
FILES = ("digits.safetensors", "images.npy", "labels.npy", "votes.png")
COMMAND = "synflip demo"  # the model's file says that it is from it
SAMPLES = 16
GEOMETRY = "64x8"
#: Of ``--quick``: seconds in place of a minute, where the simulator is not built yet.
QUICK_HIDDEN, QUICK_EPOCHS, QUICK_SAMPLES, QUICK_GEOMETRY = (64,), 5, 4, "16x1"


@dataclass(frozen=True)
class Timed:
    """A device's result and the seconds that it took, without loading."""

    result: Result
    seconds: float


def demo(
    out: Path,
    geometry: str | None = None,
    quick: bool = False,
    console: Console | None = None,
    json: Path | None = None,
) -> bool:
    """Run the demo, write its files into ``out``, print a table. Returns whether both devices agree.

    Writes ``digits.safetensors``, ``images.npy`` and ``labels.npy`` (the test images), ``votes.png``.
    json: a file for the numbers. geometry: GEOMETRY if None. quick: a smaller network, fewer epochs and
    samples, QUICK_GEOMETRY. If the packages of the comparison or the picture are missing, a quick demo leaves
    it out and prints a line that says so; any other demo raises SynflipError.
    """
    simulated, drawn = available(*SIMULATION), available(*DRAWING)
    if not quick:
        for module in (*SIMULATION, *DRAWING):
            if not available(module):  # an error before the training, not after it
                line = missing(module, EXTRAS[module])
                raise SynflipError(f"{line}; synflip demo --quick does without it")
    console = console or terminal.console()
    check_folder(out)
    files = [out / name for name in FILES]
    check_outputs([json, *files])
    if not is_demos(files[0]):
        check_new(files, COMMAND)
    machine = Geometry.parse(geometry or (QUICK_GEOMETRY if quick else GEOMETRY), bits=BITS)
    data, model, float_accuracy = train_digits(QUICK_HIDDEN, QUICK_EPOCHS) if quick else train_digits()
    samples = QUICK_SAMPLES if quick else SAMPLES
    golden = _run("golden", machine, model, data, samples)
    verilator = _run("verilator", machine, model, data, samples) if simulated else None

    from synflip.modelfile.safetensors import save

    save(replace(model, source={**model.source, "command": COMMAND}), out / "digits.safetensors")
    write_array(out / "images.npy", data.test_images)
    write_array(out / "labels.npy", data.test_labels)
    if drawn:
        from synflip.evaluation.vote_figure import draw_votes

        with replacing(out / "votes.png") as partial:
            draw_votes(golden.result, data, partial)

    equal = _report(console, data, model, machine, samples, float_accuracy, golden, verilator, json)
    for line in _last_words(out, simulated, drawn):
        console.print(line, soft_wrap=True)
    return equal


def is_demos(path: Path) -> bool:
    """Whether the model at ``path`` is from a demo; then so is what lies beside it."""
    from synflip.modelfile.safetensors import load

    try:
        return path.is_file() and load(path).source.get("command") == COMMAND
    except SynflipError:
        return False


def _last_words(out: Path, simulated: bool, drawn: bool) -> Iterator[str]:
    yield ""
    if not simulated:
        yield "Not compared with the simulated hardware: pip install 'synflip[sim]' brings the simulator."
    if not drawn:
        yield "No picture: pip install 'synflip[report]' brings what draws it."
    model, images = out / "digits.safetensors", out / "images.npy"
    votes = f"The votes of some images: {out / 'votes.png'}. " if drawn else ""
    yield f"{votes}The model and the test images are in {out}; try"
    yield f"  synflip info {model}"
    if simulated:
        yield f"  synflip verify {model} --images {images} --samples 4 --seed 7 --geometry 32x4"
    else:
        yield f"  synflip run {model} --images {images} --samples 4 --seed 7 --out {out / 'result.npz'}"


def _run(name: str, geometry: Geometry, model: CompiledModel, data: Dataset, samples: int) -> Timed:
    with waiting(f"Building the {name} device (kept for the next time)"):
        device = open_device(name, geometry)
    with device:
        with waiting(f"Loading the model into the {name} device"):
            device.load(model)
        with bar(f"Flipping coins: {name}") as advance:
            start = time.perf_counter()
            result = device.infer(data.test_images, samples, SEED, logits=True, progress=advance)
            return Timed(result, time.perf_counter() - start)


def _report(
    console: Console,
    data: Dataset,
    model: CompiledModel,
    geometry: Geometry,
    samples: int,
    float_accuracy: float,
    golden: Timed,
    verilator: Timed | None,
    json: Path | None,
) -> bool:
    """Print the table, and write its numbers. Returns whether the simulated hardware, if it ran, gave the
    golden model's numbers."""
    images = len(data.test_labels)
    one, vote = accuracies(golden.result, data.test_labels)
    comparison = compare(golden.result, verilator.result, "verilator") if verilator else None
    console.print(
        f"\n{data.name}, {model.shape}, k = {model.bits}: {images} test images, {samples} samples each"
    )
    table = Table(show_header=False)
    table.add_column(overflow="fold")
    table.add_column(justify="right", overflow="fold")
    table.add_row("accuracy of one sample (mean)", f"{one:.2%}")
    table.add_row(f"accuracy of the vote of {samples}", f"{vote:.2%}")
    table.add_row("accuracy of a float network", f"{float_accuracy:.2%}", end_section=True)
    if comparison is not None:
        for quantity in ("votes", "logits", "logit sums"):
            wrong, of = comparison.different[quantity], comparison.compared[quantity]
            table.add_row(f"mismatches of {quantity}, golden and Verilator", f"{wrong} of {of:,}")
    cycles = golden.result.cycles
    table.add_row(
        f"cycles of the {geometry.name} accelerator, predicted", f"{cycles:,}", end_section=verilator is None
    )
    if verilator is not None:
        cycles = verilator.result.cycles
        table.add_row("cycles counted in Verilator", f"{cycles:,}", end_section=True)
    how = "predicted" if verilator is None else "counted"
    table.add_row(f"cycles an image and sample, {how}", f"{cycles / (images * samples):.1f}")
    table.add_row("time of the golden model, measured", f"{golden.seconds:.2f} s")
    if verilator is not None:
        table.add_row("time of Verilator, measured", f"{verilator.seconds:.2f} s")
        rate = cycles / max(verilator.seconds, 1e-9)
        table.add_row("engine cycles a second, simulated and measured", f"{rate:,.0f}")
    console.print(table)
    write_json(
        json,
        {
            "network": model.shape,
            "geometry": geometry.name,
            "images": images,
            "samples": samples,
            "accuracy_of_one_sample": one,
            "accuracy_of_the_vote": vote,
            "accuracy_of_a_float_network": float_accuracy,
            "different": None if comparison is None else comparison.different,
            "cycles_predicted": golden.result.cycles,
            "cycles_counted": None if verilator is None else verilator.result.cycles,
            "seconds_golden": golden.seconds,
            "seconds_verilator": None if verilator is None else verilator.seconds,
        },
    )
    if comparison is not None and comparison.first:
        console.print(f"First difference: {comparison.first}", soft_wrap=True)
    return comparison is None or comparison.equal
