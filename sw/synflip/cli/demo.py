"""``synflip demo``: train, compile, run on the golden model and in Verilator, compare, draw. No downloads."""

import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from synflip.data.dataset import Dataset
from synflip.devices.registry import open_device
from synflip.errors import SynflipError
from synflip.inference.compare import Comparison, accuracies, compare
from synflip.inference.result import Result
from synflip.spec.geometry import Geometry
from synflip.spec.model import CompiledModel
from synflip.util.atomic import replacing, write_array
from synflip.util.progress import bar, waiting
from synflip.workflows import BITS, HIDDEN, SEED, train_digits

HIDDEN_TEXT = ",".join(str(size) for size in HIDDEN)
SAMPLES = 16


@dataclass(frozen=True)
class Timed:
    """A device's result and the seconds that it took, without loading."""

    result: Result
    seconds: float


def demo(out: Path, geometry: str = "64x8", console: Console | None = None) -> bool:
    """Run it all, write files into the folder ``out``, print a table; whether both devices agree.

    Writes ``digits.safetensors``, ``images.npy`` and ``labels.npy`` (the test images), ``votes.png``.
    """
    console = console or Console(highlight=False, markup=False)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SynflipError(f"cannot make the folder {out}: {error.strerror}") from None
    machine = Geometry.parse(geometry, bits=BITS)
    data, model, float_accuracy = train_digits()
    golden = _run("golden", machine, model, data)
    verilator = _run("verilator", machine, model, data)
    comparison = compare(golden.result, verilator.result, "verilator")

    from synflip.evaluation.vote_figure import draw_votes
    from synflip.modelfile.safetensors import save

    save(model, out / "digits.safetensors")
    write_array(out / "images.npy", data.test_images)
    write_array(out / "labels.npy", data.test_labels)
    with replacing(out / "votes.png") as partial:
        draw_votes(golden.result, data, partial)

    _report(console, data, model, machine, float_accuracy, golden, verilator, comparison)
    model_file, images = out / "digits.safetensors", out / "images.npy"
    for line in (
        f"\nThe votes of some images: {out / 'votes.png'}. The model and the images are there too; try",
        f"  synflip info {model_file}",
        f"  synflip verify {model_file} --images {images} --samples 4 --seed 7 --geometry 32x4",
    ):
        console.print(line, soft_wrap=True)
    return comparison.equal


def _run(name: str, geometry: Geometry, model: CompiledModel, data: Dataset) -> Timed:
    with waiting(f"Building the {name} device (kept for the next time)"):
        device = open_device(name, geometry)
    with device:
        with waiting(f"Loading the model into the {name} device"):
            device.load(model)
        with bar(f"Flipping coins: {name}") as advance:
            start = time.perf_counter()
            result = device.infer(data.test_images, SAMPLES, SEED, logits=True, progress=advance)
            return Timed(result, time.perf_counter() - start)


def _report(
    console: Console,
    data: Dataset,
    model: CompiledModel,
    geometry: Geometry,
    float_accuracy: float,
    golden: Timed,
    verilator: Timed,
    comparison: Comparison,
) -> None:
    images = len(data.test_labels)
    one, vote = accuracies(golden.result, data.test_labels)
    rate = verilator.result.cycles / max(verilator.seconds, 1e-9)
    console.print(
        f"\n{data.name}, {model.shape}, k = {model.bits}: {images} test images, {SAMPLES} samples each"
    )
    table = Table(show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_row("accuracy of one sample (mean)", f"{one:.2%}")
    table.add_row(f"accuracy of the vote of {SAMPLES}", f"{vote:.2%}")
    table.add_row("accuracy of a float network", f"{float_accuracy:.2%}", end_section=True)
    for quantity in ("votes", "logits", "logit sums"):
        wrong, of = comparison.different[quantity], comparison.compared[quantity]
        table.add_row(f"mismatches of {quantity}, golden and Verilator", f"{wrong} of {of:,}")
    table.add_row(f"cycles of the {geometry.name} accelerator, predicted", f"{golden.result.cycles:,}")
    table.add_row("cycles counted in Verilator", f"{verilator.result.cycles:,}", end_section=True)
    table.add_row("cycles an image and sample", f"{verilator.result.cycles / (images * SAMPLES):.1f}")
    table.add_row("time, golden", f"{golden.seconds:.2f} s")
    table.add_row("time, Verilator", f"{verilator.seconds:.2f} s")
    table.add_row("engine cycles a second in Verilator", f"{rate:,.0f}")
    console.print(table)
    if comparison.first:
        console.print(f"First difference: {comparison.first}", soft_wrap=True)
