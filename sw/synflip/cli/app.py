"""The command line. A command that fails prints one line on stderr; its exit status is not 0."""

import math
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from synflip._version import __version__
from synflip.cli import (
    bench,
    boards,
    convert,
    evaluate,
    fuzz,
    gateware,
    margins,
    report_paper,
    run,
    selftest,
    serve,
    train,
)
from synflip.cli.coins import calibrate, cost, evidence, rates
from synflip.cli.console import table, write_json
from synflip.cli.options import JsonFile, ModelFile, model_files
from synflip.errors import SynflipError
from synflip.util.cache import tool_caches
from synflip.util.extras import explained
from synflip.util.terminal import prepare
from synflip.util.text import printable

# Nothing else here: `synflip --help` must not wait for torch, nor even for numpy.
if TYPE_CHECKING:
    from synflip.spec.features import Features
    from synflip.spec.model import CompiledModel

INTERRUPTED = 130
NO_MEMORY = "not enough memory; take fewer images or samples, or a smaller network"
_OF_MEMORY = "can't allocate memory"  # in what torch says
#: In the order of --help.
COMMANDS = (
    train, convert, run, evaluate, margins, serve, report_paper, bench, fuzz, gateware, boards, selftest,
    evidence, cost, calibrate, rates,
)  # fmt: skip

DemoGeometry = Annotated[
    str | None,
    typer.Option(
        "--geometry",
        metavar="PxQ",
        help="Size of the accelerator: P lanes (16..128), Q banks (1, 2, 4, 8). "
        "Without it: 64x8, and 16x1 with --quick.",
        show_default=False,
    ),
]


class _Command(TyperCommand):
    """A command whose flags have no type in its help: typer would say <bool>, but a flag takes no value; and
    whose numbers are finite: an option with a least value alone would take inf, one without limits nan."""

    def get_params(self, ctx: Any) -> Any:
        return _untyped(super().get_params(ctx))

    def invoke(self, ctx: Any) -> Any:
        for item in self.params:
            value = ctx.params.get(item.name)
            for number in value if isinstance(value, list | tuple) else [value]:
                if isinstance(number, float) and not math.isfinite(number):
                    raise typer.BadParameter(f"{item.opts[0]} must be a finite number, not {number}")
        return super().invoke(ctx)


class _Group(TyperGroup):
    """A group of commands, whose flags have no type either."""

    def get_params(self, ctx: Any) -> Any:
        return _untyped(super().get_params(ctx))


def _untyped(params: Any) -> Any:
    for item in params:
        if getattr(item, "is_flag", False):
            item.metavar = ""
    return params


def _plain(group: typer.Typer) -> typer.Typer:
    """``group``, its commands and the groups in it, with help that gives flags no type."""
    group.info.cls = _Group
    for command in group.registered_commands:
        command.cls = _Command
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        _plain(inner.typer_instance)
    return group


app = typer.Typer(
    name="synflip",
    help="Neural networks whose weights are coin flips, as FPGA hardware.\n\n"
    "A trained weight becomes a coin: its size is the probability of heads. Each sample flips every coin of "
    "the network once and casts a vote; many votes give a class, and how sure to be of it.\n\n"
    "Start with: synflip demo",
    rich_markup_mode="rich",
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """What `synflip` does without a command."""
    if version:
        typer.echo(f"synflip {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for what it writes.")] = Path(
        "synflip-demo"
    ),
    geometry: DemoGeometry = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A smaller network, 5 epochs, 4 samples, a 16x1 accelerator.")
    ] = False,
    json: JsonFile = None,
) -> None:
    """Train on handwritten digits, run the result on both devices, compare every number, draw the votes.

    Needs no files, no downloads and no FPGA. Writes the model, the test images and a picture (votes.png) into
    DIR. Exit status 0 if and only if the simulated hardware gave exactly the golden model's numbers.

    The simulator comes with synflip[sim], the picture with synflip[report]. Without them --quick says what it
    leaves out, runs the golden model alone, and ends with status 0; without --quick that is an error.

    Example: synflip demo --out out/demo

    Example: synflip demo --quick
    """
    from synflip.cli.demo import demo as run_demo

    if not run_demo(out, geometry, quick, json=json):
        raise typer.Exit(1)


@app.command()
def info(model: ModelFile, json: JsonFile = None) -> None:
    """Say what is in a compiled model: its shape, its numbers, and where it came from.

    Example: synflip info digits.safetensors
    """
    from synflip.modelfile.safetensors import load
    from synflip.util.outputs import check_outputs

    check_outputs([json], model_files(model))
    network = load(model)
    features = network.features
    synapses = sum(layer.q.size for layer in network.layers)
    silent = sum(int((layer.q == 0).sum()) for layer in network.layers)
    table(
        str(model),
        ("shape", network.shape),
        ("synapses", f"{synapses:,}, of which {silent:,} never come up heads"),
        ("probability bits k", str(network.bits)),
        ("activation bits A", str(network.activation_bits)),
        ("shifts", ", ".join(str(shift) for shift in network.shifts) or "none"),
        ("pixels", f"0..{network.pixel_max}{_order(network)}"),
        *_inputs(network),
        *(() if features is None else (("features", _features(features)),)),
        ("classes", ", ".join(network.classes)),
        *((f"source: {key}", str(value)) for key, value in network.source.items()),
    )
    quantizer = network.input_quantizer
    numbers = {
        "network": network.shape,
        "synapses": synapses,
        "synapses_without_heads": silent,
        "bits": network.bits,
        "activation_bits": network.activation_bits,
        "shifts": list(network.shifts),
        "pixel_max": network.pixel_max,
        "input": None
        if quantizer is None
        else {**quantizer.metadata(), "low": quantizer.low.tolist(), "high": quantizer.high.tolist()},
        "features": None if features is None else features.metadata(),
        "classes": list(network.classes),
        "source": dict(network.source),
    }
    write_json(json, numbers)


def _order(network: "CompiledModel") -> str:
    """The order of an image's pixels, if the model begins with a convolution of several channels."""
    first = network.layers[0].convolution
    if first is None or first.input[2] == 1 or network.features is not None:
        return ""
    return f", rows in the order {'channel, y, x' if network.channels_first else 'y, x, channel'}"


def _inputs(network: "CompiledModel") -> list[tuple[str, str]]:
    """What an input quantizer makes pixels of: each column with its range or categories, or the pixels'."""
    quantizer = network.input_quantizer
    if quantizer is None:
        return []
    lows, highs = quantizer.low, quantizer.high
    rows = [("features", f"{quantizer.features}, in {lows.min():g}..{highs.max():g}, made pixels")]
    if quantizer.quantiles is not None:
        low, high = quantizer.quantiles
        rows.append(("quantiles", f"{low:g}..{high:g} of the training rows"))
    first = 0
    for column in quantizer.columns:
        words = ", ".join(column.categories) or f"{lows[first]:g}..{highs[first]:g}"
        rows.append((f"column: {column.name}", words))
        first += column.width
    if quantizer.label is not None:
        rows.append(("column of labels", quantizer.label))
    return rows


def _features(features: "Features") -> str:
    """The features' shape and step as text, and whether their extractor is there."""
    channels, height, width = features.shape
    there = "" if features.extractor else "; the file that makes them is not there"
    return f"of {channels}x{height}x{width} pixels, in steps of 2^{features.log2_step}{there}"


for command in COMMANDS:
    app.add_typer(command.app)
_plain(app)


def _fail(message: str, status: int) -> int:
    print(f"error: {printable(message)}", file=sys.stderr)
    return status


def _close_stdout() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _terminated(number: int, frame: object) -> None:
    """SIGTERM ends a command as Ctrl-C does: what is half written or half built is deleted."""
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, the process's own if None. Returns the exit status."""
    prepare()
    before = signal.getsignal(signal.SIGTERM)
    with suppress(ValueError):  # not in a thread
        if before is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _terminated)
    try:
        with tool_caches():
            status = app(args=arguments, prog_name="synflip", standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        return _fail(error.format_message(), error.exit_code)
    except train.Stopped as stop:
        words = sys.argv[1:] if arguments is None else [*arguments]
        words = [word for word in words if word != "--resume"]
        return _fail(f"{stop}; to go on: {shlex.join(['synflip', *words, '--resume'])}", INTERRUPTED)
    except SynflipError as error:
        return _fail(str(error), 1)
    except ModuleNotFoundError as error:
        if (line := explained(error)) is None:
            raise
        return _fail(line, 1)
    except MemoryError:
        return _fail(NO_MEMORY, 1)
    except RuntimeError as error:  # torch has no class of its own for it
        if _OF_MEMORY not in str(error):
            raise
        return _fail(NO_MEMORY, 1)
    except BrokenPipeError:  # a reader such as head closes the pipe before all is written
        _close_stdout()
        return 1
    except OSError as error:
        try:
            sys.stdout.flush()
        except OSError:  # a full disk: Python would try again at its end, and say so in its own words
            _close_stdout()
        return _fail(f"{error.filename or 'input or output'}: {error.strerror or error}", 1)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    finally:
        with suppress(ValueError):
            if before is signal.SIG_DFL:
                signal.signal(signal.SIGTERM, before)
    if status == INTERRUPTED:
        return _fail("interrupted", INTERRUPTED)
    return status or 0


if __name__ == "__main__":
    sys.exit(main())
