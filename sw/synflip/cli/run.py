"""The commands run, merge, verify and images."""

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from os.path import isfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synflip.cli.console import say, table, write_json
from synflip.cli.options import (
    ClusterAddress,
    ClusterWorkers,
    DataName,
    DeviceGeometryOption,
    DeviceOption,
    Header,
    ImagesFile,
    JsonFile,
    Margin,
    Margins,
    ModelFile,
    Samples,
    Seed,
    WavesFile,
    Window,
    cluster_client,
    model_files,
    output_file,
    wants_cluster,
)
from synflip.errors import DeviceWarning, SynflipError
from synflip.util.text import printable

# Nothing else here: `synflip --help` must not wait for torch, nor even for numpy.
if TYPE_CHECKING:
    from distributed import Client
    from synflip_sim.simulators.waves import Waves

    from synflip.inference.device import Device
    from synflip.inference.request import InferenceRequest
    from synflip.inference.result import Result
    from synflip.spec.geometry import Geometry
    from synflip.spec.model import CompiledModel, Images

MAX_MARGINS_BYTES = 1 << 20

app = typer.Typer()


@app.command()
def run(
    model: ModelFile,
    images: ImagesFile,
    out: Annotated[
        Path, typer.Option("--out", metavar="R.npz", parser=output_file, help="Where to write the counts.")
    ],
    header: Header = True,
    samples: Samples = 16,
    seed: Seed = 0,
    device: DeviceOption = "golden",
    geometry: DeviceGeometryOption = None,
    margin: Margin = None,
    margins: Margins = None,
    logits: Annotated[bool, typer.Option("--logits", help="Keep the logits of every sample too.")] = False,
    soft: Annotated[
        bool,
        typer.Option(
            "--soft", help="Add up soft votes and energies too: they say how sure to be without --logits."
        ),
    ] = False,
    shards: Annotated[
        str | None,
        typer.Option(
            "--shards",
            metavar="I/N",
            help="Only part I of N of the samples; synflip merge puts the parts together.",
            show_default=False,
        ),
    ] = None,
    cluster: ClusterAddress = None,
    workers: ClusterWorkers = None,
    waves: WavesFile = None,
    window: Window = None,
    json: JsonFile = None,
) -> None:
    """Run a compiled model on images and write the votes.

    R.npz holds votes int32 [N, C], logit_sums int64 [N, C], used int32 [N] (samples that each image took part
    in), cycles int64 (of the accelerator; the golden model predicts them; -1 if they are not known), and
    with --logits logits int32 [S, N, C], with --soft soft_votes int64 [N, C] and energy_sums int64 [N].
    Images are read block by block: of all images together only the results are in memory.

    A model that the accelerator has no room for runs in parts: how many, and what goes over the link, is said
    before they run. With --cluster or --workers each worker opens the device, and cycles are the sum over all
    pieces of work.

    Example: synflip run digits.safetensors --images x.npy --samples 16 --seed 1 --device golden --out r.npz

    Example: synflip run m.safetensors --images x.npy --samples 64 --seed 1 --shards 1/2 --out r1.npz
    """
    from synflip.devices.registry import DeviceName
    from synflip.inference.shards import Part, file_digest, parse_shards, save_part
    from synflip.util.outputs import check_outputs

    recorded = _waves(waves, window, device)
    check_outputs([out, json, *_files(recorded)], [*model_files(model), images, margins])
    on_cluster = wants_cluster(cluster, workers)
    if on_cluster and recorded is not None:
        raise SynflipError("--waves records a simulator here: leave out --cluster and --workers")
    stop = _stop(margin, margins, samples)
    part, first = None, 0
    if shards is not None:
        if stop is not None:
            raise SynflipError(
                "--shards goes without --margin: whether an image stays depends on all samples"
            )
        part = Part(*parse_shards(shards, samples), samples, seed, file_digest(model), file_digest(images))
        first, samples = part.first, part.past - part.first
    network, pixels = _open(model, images, header)
    request = _request(network, pixels, samples, seed, stop, logits, first, soft)
    named = _with_geometries(device, geometry, network)
    clock = line = 0
    if on_cluster:
        name = DeviceName.parse(device)
        if name.port:
            _check_port(device, geometry)
        own = None if name.port or name.members else _geometry(geometry, network, device)
        with cluster_client(cluster, workers, named) as client:
            result, seconds, machine = _infer_far(client, named, own, request)
    else:
        machine = _geometry(geometry, network, device)
        result, seconds, clock, line = _infer(named, machine, request, recorded)
    if part is None:
        result.save(out)
    else:
        save_part(result, part, out)
    asked = DeviceName.parse(device)
    kind = device if asked.members else asked.kind
    kinds = {DeviceName.parse(member).kind for member in asked.members} or {kind}
    predicted = bool(kinds & {"golden", "cuda"})
    rows = [
        *([] if part is None else [("part", f"{shards}, samples {part.first}..{part.past - 1}")]),
        ("images x samples", f"{len(pixels)} x {samples}"),
        ("samples used", f"{int(result.used.sum())} (mean {result.used.mean():.2f} an image)"),
        ("unanimous images", str(int((result.votes.max(1) == result.used).sum()))),
        (
            "cycles",
            f"{result.cycles:,} {'predicted' if predicted else 'counted'}"
            f"{', of all devices together' if asked.members or on_cluster else ''}"
            if result.cycles >= 0
            else _why_no_cycles(request, machine),
        ),
        ("time", f"{seconds:.2f} s measured, images and results included"),
    ]
    write_json(
        json,
        {
            "network": network.shape,
            "device": kind,
            "geometry": machine.name,
            "seed": seed,
            "images": len(pixels),
            "samples": samples,
            "first_sample": first,
            "samples_used": int(result.used.sum()),
            "unanimous_images": int((result.votes.max(1) == result.used).sum()),
            "cycles": result.cycles if result.cycles >= 0 else None,
            "cycles_are_predicted": predicted,
            "clock_cycles": clock or None,
            "seconds": seconds,
        },
    )
    if clock:
        share = f"{result.cycles / clock:.1%} of {clock:,} cycles, images and results included"
        rows.insert(-1, ("engine busy", share))
    if line:
        rows.append(("line", f"{line:,} bytes measured"))
    rows += [("wrote", str(out)), *_written(recorded, machine)]
    where = f"{kind} of a cluster" if on_cluster else kind
    table(f"{network.shape} on {where}, {machine.name}, seed {seed}", *rows)


@app.command()
def merge(
    parts: Annotated[list[Path], typer.Argument(metavar="R1.npz R2.npz ..", help="Parts, in any order.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="R.npz", parser=output_file, help="Where to write the whole inference."
        ),
    ],
    json: JsonFile = None,
) -> None:
    """Put the parts of an inference together, as synflip run --shards writes them.

    R.npz has the votes, logit sums, samples used, logits and soft votes of one run of all samples, to the
    bit. Its cycles are those of all parts: each part is a run of its own, with a beginning and an end.

    Example: synflip merge r1.npz r2.npz --out r.npz
    """
    from synflip.inference.shards import merge as merged
    from synflip.util.outputs import check_outputs

    check_outputs([out, json], parts)
    result, part = merged(parts)
    result.save(out)
    numbers = {"parts": part.count, "seed": part.seed, "images": len(result.used), "samples": part.samples}
    write_json(json, {**numbers, "cycles": result.cycles if result.cycles >= 0 else None})
    table(
        f"{part.count} parts, seed {part.seed}",
        ("images x samples", f"{len(result.used)} x {part.samples}"),
        ("cycles of all parts", f"{result.cycles:,}" if result.cycles >= 0 else "not predicted"),
        ("wrote", str(out)),
    )


@app.command()
def verify(
    model: ModelFile,
    images: ImagesFile,
    header: Header = True,
    samples: Samples = 16,
    seed: Seed = 0,
    device: DeviceOption = "verilator",
    geometry: DeviceGeometryOption = None,
    margin: Margin = None,
    margins: Margins = None,
    logits: Annotated[
        bool, typer.Option("--logits/--no-logits", help="Compare the logits of every sample too.")
    ] = True,
    soft: Annotated[bool, typer.Option("--soft", help="Compare soft votes and energies too.")] = False,
    waves: WavesFile = None,
    window: Window = None,
    json: JsonFile = None,
) -> None:
    """Check that a device gives exactly the golden model's numbers.

    Compares the votes, the logits of every sample, their sums, the samples used and the cycle count. Exit
    status 0 if and only if all are equal; otherwise 1, and the first difference is printed. Without logits a
    run may take more samples, so the cycles may be others.

    Example: synflip verify digits.safetensors --images x.npy --samples 16 --seed 1 --geometry 64x8

    Example: synflip verify m.safetensors --images x.npy --geometry 16x2 --waves w.fst --window 0:500
    """
    from synflip.devices.registry import DeviceName
    from synflip.inference.compare import compare
    from synflip.util.outputs import check_outputs

    recorded = _waves(waves, window, device)
    check_outputs([json, *_files(recorded)], [*model_files(model), images, margins])
    DeviceName.parse(device).single("verify")
    stop = _stop(margin, margins, samples)
    network, pixels = _open(model, images, header, least=0)
    request = _request(network, pixels, samples, seed, stop, logits, soft=soft)
    machine = _geometry(geometry, network, device)
    golden, *_ = _infer("golden", machine, request)
    other, seconds, *_ = _infer(device, machine, request, recorded)
    comparison = compare(golden, other, device)
    rows = [
        (quantity, f"{different} of {comparison.compared[quantity]:,} differ")
        for quantity, different in comparison.different.items()
        if quantity != "cycles"
    ]
    rows += [
        ("cycles", f"{golden.cycles:,} predicted, {other.cycles:,} counted"),
        (
            "time",
            f"{seconds:.2f} s measured, images and results included "
            f"({max(other.cycles, 0) / max(seconds, 1e-9):,.0f} engine cycles a second)",
        ),
        *_written(recorded, machine),
        ("verdict", "equal" if comparison.equal else "DIFFERENT"),
    ]
    write_json(
        json,
        {
            "network": network.shape,
            "device": device,
            "geometry": machine.name,
            "seed": seed,
            "images": len(pixels),
            "samples": samples,
            "compared": comparison.compared,
            "different": comparison.different,
            "first_difference": comparison.first,
            "cycles_predicted": golden.cycles if golden.cycles >= 0 else None,
            "cycles_counted": other.cycles if other.cycles >= 0 else None,
            "seconds": seconds,
            "equal": comparison.equal,
        },
    )
    work = f"{len(pixels)} images x {samples} samples"
    table(f"{network.shape}: {device} against golden, {machine.name}, {work}", *rows)
    if comparison.first:
        raise SynflipError(f"first difference: {comparison.first}")


@app.command()
def images(
    data: Annotated[DataName, typer.Argument(help="The data set.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="X.npy", parser=output_file, help="Where to write the images.")
    ],
    count: Annotated[
        int | None, typer.Option("--count", metavar="N", min=1, help="Only the first N.")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", metavar="Y.npy", parser=output_file, help="Write their labels here."),
    ] = None,
    json: JsonFile = None,
) -> None:
    """Write test images of a data set as the .npy file that run and verify read.

    Example: synflip images digits --count 200 --out x.npy --labels y.npy
    """
    from synflip.data.registry import files as data_files
    from synflip.data.registry import load
    from synflip.util.outputs import check_outputs, write_array

    check_outputs([out, labels, json], data_files())
    dataset = load(data.value)
    pixels = dataset.test_images[:count]
    if len(dataset.shape) == 3:  # the file's shape says that channels come first
        pixels = pixels.reshape(-1, *dataset.shape)
    write_array(out, pixels)
    if labels is not None:
        write_array(labels, dataset.test_labels[:count])
    write_json(json, {"data": data.value, "shape": list(pixels.shape), "pixel_max": dataset.input_max})
    table(
        f"{dataset.title}, test images",
        ("images", f"uint8 {list(pixels.shape)}, pixels 0..{dataset.input_max}"),
        ("wrote", str(out) if labels is None else f"{out}, {labels}"),
    )


def _numbers(name: str, text: str) -> list[int]:
    """The numbers of a list such as ``0,3,3``. Raises SynflipError."""
    parts = text.split(",")
    if not all(part.strip().isdecimal() and len(part) <= 18 for part in parts):
        raise SynflipError(f"{name} {text!r} is not a list of numbers, such as 0,3,3")
    return [int(part) for part in parts]


def _stop(margin: int | None, margins: str | None, samples: int) -> int | list[int] | None:
    """The margin that --margin gives, or the list of --margins, one a sample. Of a file's margins only the
    first ``samples`` are taken."""
    if margins is None:
        return margin
    if margin is not None:
        raise typer.BadParameter("--margin and --margins exclude each other")
    if isfile(margins):  # of a long list, Path.is_file raises OSError
        with Path(margins).open("rb") as file:
            text = file.read(MAX_MARGINS_BYTES).decode(errors="replace").strip()
        return _numbers(f"--margins {margins}:", text)[:samples]
    return _numbers("--margins", margins)


def _open(model: Path, images: Path, header: bool, least: int = 1) -> "tuple[CompiledModel, Images]":
    """The model and the images. Raises SynflipError if there are fewer than ``least`` images."""
    from synflip.data.registry import open_inputs
    from synflip.modelfile.safetensors import load

    network = load(model)
    return network, open_inputs(images, network, least, header)


def _geometry(text: str | None, model: "CompiledModel", device: str = "golden") -> "Geometry":
    """The geometry to run on: the one in ``text``, or the device's default, each with the model's bits.
    Hardware at a serial port tells its own."""
    from synflip.devices.registry import DeviceName, open_device
    from synflip.spec.geometry import Geometry

    name = DeviceName.parse(device)
    if name.members:
        first = name.members[0]
        return _geometry(None if DeviceName.parse(first).geometry else text, model, first)
    if name.port:
        _check_port(device, text)
        with open_device(device) as accelerator:
            return accelerator.geometry
    if name.geometry is not None and text is not None:
        raise SynflipError(f"--device {device} has a geometry: leave out --geometry {text}")
    text = text or name.geometry
    bits = {"bits": model.bits, "activation_bits": model.activation_bits}
    if device.startswith("netlist:"):
        from synflip_sim.simulators.netlist import small_of

        return small_of(text or "16x1", **bits)
    return Geometry.parse(text or "64x8", **bits)


def _check_port(device: str, text: str | None) -> None:
    if text is not None:
        raise SynflipError(f"the accelerator at {device} says itself what it is: leave out --geometry")


def _kind(name: str) -> str:
    """The name without its geometry, which is handed over apart; ports and pools as they are."""
    from synflip.devices.registry import DeviceName

    asked = DeviceName.parse(name)
    return name if asked.port or asked.members else asked.kind


def _with_geometries(device: str, text: str | None, model: "CompiledModel") -> str:
    """The name of a pool in which each device has its geometry, with the model's bits: its own, or the one in
    ``text``. Other names as they are."""
    from synflip.devices.registry import DeviceName

    pool = DeviceName.parse(device)
    names = []
    for member in pool.members:
        name = DeviceName.parse(member)
        own = None if name.geometry or name.port else text
        names.append(member if name.port else f"{name.kind}:{_geometry(own, model, member).text}")
    return f"{pool.kind}:{','.join(names)}" if names else device


def open_for(model: "CompiledModel", device: str) -> "Device":
    """The device called ``device``, of a size that its name says or the default one, with the model's bits.
    Raises SynflipError."""
    from synflip.devices.registry import DeviceName, open_device

    asked = DeviceName.parse(device)
    if asked.port:
        return open_device(device)
    if asked.members:
        return open_device(_with_geometries(device, None, model))
    return open_device(asked.kind, _geometry(None, model, device))


def _request(
    model: "CompiledModel",
    pixels: "Images",
    samples: int,
    seed: int,
    margin: int | list[int] | None,
    logits: bool,
    first: int = 0,
    soft: bool = False,
) -> "InferenceRequest":
    """The request, checked. margin: one for all samples, or a list with one a sample."""
    import numpy as np

    from synflip.inference.request import InferenceRequest, check_logits

    limits = np.array(margin, dtype=np.int64) if isinstance(margin, list) else margin
    request = InferenceRequest(model, pixels, samples, seed, limits, logits, first=first, soft=soft)
    if logits:
        check_logits(samples, len(pixels), len(model.classes))
    return request


def _waves(path: Path | None, window: str | None, device: str) -> "Waves | None":
    """What is to be recorded of the device. Raises SynflipError if it has no signals."""
    from synflip.devices.registry import DeviceName

    if path is None:
        if window is not None:
            raise SynflipError("--window is of --waves F.fst, which is not given")
        return None
    if DeviceName.parse(device).kind != "verilator":
        raise SynflipError(f"{device} has no signals to record: --waves goes with --device verilator")
    from synflip_sim.simulators.waves import Waves

    return Waves.of(path, window)


def _files(waves: "Waves | None") -> tuple[Path, ...]:
    return () if waves is None else waves.files


def _written(waves: "Waves | None", geometry: "Geometry") -> list[tuple[str, str]]:
    """Rows of a table, after a run: what was written of its waves, and what was kept."""
    kept = set() if waves is None else waves.kept(geometry)
    return [("kept" if path in kept else "wrote", str(path)) for path in _files(waves)]


def _infer(
    name: str, geometry: "Geometry", request: "InferenceRequest", waves: "Waves | None" = None
) -> "tuple[Result, float, int, int]":
    """Returns the result, the seconds that inference took, the cycles of the simulated clock, 0 if there is
    none, and the bytes on the serial line, 0 if there is none. waves: what is recorded."""
    if waves is None:
        return _carry_out(name, geometry, request)
    from synflip_sim.simulators.waves import recording

    with recording(waves, geometry) as partial:
        return _carry_out(name, geometry, request, partial)


def _carry_out(
    name: str, geometry: "Geometry", request: "InferenceRequest", waves: "Waves | None" = None
) -> "tuple[Result, float, int, int]":
    from synflip.devices.registry import DeviceName, open_device
    from synflip.inference.parts import Parts, runs_of
    from synflip.spec.frames import BAUD
    from synflip.util.progress import bar, waiting

    asked, name = DeviceName.parse(name), _kind(name)
    if name not in ("golden", "cuda") and not asked.members:
        runs = runs_of(request, geometry)  # refuses what does not run, before a simulator is built
        if isinstance(runs, Parts):
            work = runs.work(
                len(request.pixels), request.samples, request.early, host_keys=request.keys is not None
            )
            text = work.text(asked.baud or BAUD)
            say(f"{request.model.shape} on {geometry.name} runs in parts, predicted: {text}")
    with waiting(f"Opening {name}, {geometry.name} (the first time, this builds it)"):
        if waves is None:
            device = open_device(name, geometry)
        else:
            from synflip_sim.simulators.verilator import open_verilator

            device = open_verilator(geometry, waves=waves)
    with device, device_warnings():
        with waiting("Loading the model"):
            device.load(request.model)
        with bar(f"Flipping coins: {name}") as advance:
            start, began, carried = time.perf_counter(), device.clock_cycles(), device.line_bytes()
            result = device.run(request, advance)
            clock, seconds = device.clock_cycles() - began, time.perf_counter() - start
            return result, seconds, clock, device.line_bytes() - carried


def _infer_far(
    client: "Client", name: str, geometry: "Geometry | None", request: "InferenceRequest"
) -> "tuple[Result, float, Geometry]":
    """Returns the result of a cluster's workers, the seconds that inference took, and the devices' geometry.

    geometry: None if the devices say it themselves.
    """
    from synflip.cluster import ClusterDevice
    from synflip.util.progress import bar, waiting

    name = _kind(name)
    with ClusterDevice(client, name, geometry) as device:
        with waiting("Loading the model into the cluster"):
            device.load(request.model)
        with bar(f"Flipping coins: {name} of a cluster") as advance:
            start = time.perf_counter()
            result = device.run(request, advance)
            return result, time.perf_counter() - start, device.geometry


@contextmanager
def device_warnings() -> Iterator[None]:
    """Say on stderr, in one line each, what a pool warns of while the block lasts."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", DeviceWarning)
        warnings.showwarning = lambda message, *_: typer.echo(printable(str(message)), err=True)
        yield


def _why_no_cycles(request: "InferenceRequest", geometry: "Geometry") -> str:
    from synflip.inference.parts import Parts, runs_of

    try:
        runs = runs_of(request, geometry)
    except SynflipError as error:
        return f"not predicted: {error}"
    if isinstance(runs, Parts) and not runs.predictable:
        return "neither predicted nor counted: some parts wait for keys that the host sends"
    return "not predicted"
