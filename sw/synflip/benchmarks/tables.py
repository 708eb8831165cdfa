"""Tables of a bench's findings, for terminals and pages. Every title of a table with a rate or a time says
whether it is predicted, simulated or measured, and what it includes."""

from collections.abc import Callable, Mapping
from typing import Any

from synflip.benchmarks.engine_cycles import CAUSES, IMBALANCE
from synflip.report.tables import Table
from synflip.util.progress import duration


def engine(part: dict[str, Any]) -> list[Table]:
    """Cycles of a pass over the ideal, and the lost ones by cause."""
    over, lost = [], []
    for item in part["rows"]:
        each = {name: item[name] / item["passes"] for name in ("cycles", "ideal")}
        case = (f"{item['network']} {item['shape']}", item["geometry"], str(item["batch"]))
        ratio = f"{item['cycles'] / item['ideal']:.3f}"
        over.append((*case, f"{each['cycles']:.1f}", f"{each['ideal']:.1f}", ratio))
        lost.append((*case, *(f"{item['causes'][cause] / item['passes']:.1f}" for cause in CAUSES[1:])))
    heads = ("network", "lanes x banks", "batch")
    what = f"mean over {part['images']} test images and {part['samples']} network samples"
    return [
        Table(f"Predicted cycles of a pass, {what}", (*heads, "cycles", "ideal", "over ideal"), over),
        Table(f"Where they go, {what}; {IMBALANCE} is part of the ideal", (*heads, *CAUSES[1:]), lost),
    ]


def balance(part: dict[str, Any]) -> list[Table]:
    """Cycles of a pass before and after."""
    rows = [
        (
            f"{item['network']} {item['shape']}",
            item["geometry"],
            f"{item['before'] / item['passes']:.1f}",
            f"{item['after'] / item['passes']:.1f}",
            f"{1 - item['after'] / item['before']:.1%}",
        )
        for item in part["rows"]
    ]
    what = f"mean over {part['images']} test images and {part['samples']} network samples, in batches"
    heads = ("network", "lanes x banks", "as trained", "balanced", "saved")
    return [Table(f"Predicted cycles of a pass, {what}", heads, rows)]


def golden(part: dict[str, Any]) -> list[Table]:
    """Milliseconds a network sample, and how they compare with the plain loop: above 1 the golden model is
    faster. A table for each way to multiply."""
    heads = (
        *("images", "threads", "golden model, ms", "plain loop, ms", "its products alone, ms"),
        "times as fast as the plain loop",
    )
    tables = []
    for way in part["ways"]:
        rows = [
            (
                f"{item['images']:,}",
                str(item["threads"]),
                *(f"{1000 * item[name]:.2f}" for name in ("golden", "plain", "products")),
                f"{item['plain'] / item['golden']:.1f}",
            )
            for item in part["rows"]
            if item["way"] == way
        ]
        tables.append(Table(f"A network sample of {part['shape']}, {_measured(part, way)}", heads, rows))
    return tables


def convolutions(part: dict[str, Any]) -> list[Table]:
    """Milliseconds of a network sample, and of the same network in float: above 1 the golden model is
    slower."""
    rows = [
        (
            f"{item['images']:,}",
            str(item["threads"]),
            *(f"{1000 * item[name]:.2f}" for name in ("golden", "plain")),
            f"{item['golden'] / item['plain']:.2f}",
        )
        for item in part["rows"]
    ]
    heads = (
        *("images", "threads", "golden model, a network sample, ms", "torch in float, ms"),
        "times as long as torch in float",
    )
    return [Table(f"{part['shape']}, {_measured(part, part['way'])}", heads, rows)]


def _measured(part: dict[str, Any], way: str) -> str:
    return f"measured on this machine ({', '.join(part['flags']) or 'no flags'}), products by {way}"


def gpu(part: dict[str, Any]) -> list[Table]:
    """Milliseconds a network sample on a GPU, and how they compare with the plain loop there."""
    rows = [
        (
            f"{item['images']:,}",
            *(f"{1000 * item[name]:.2f}" for name in ("golden", "votes", "plain")),
            *(f"{item['plain'] / item[name]:.1f}" for name in ("golden", "votes")),
        )
        for item in part["rows"]
    ]
    heads = (
        "images",
        "golden model, ms",
        "without predicting cycles, ms",
        "plain loop there, ms",
        "times as fast as the plain loop",
        "without predicting cycles",
    )
    return [Table(f"A network sample of {part['shape']} on an {part['gpu']}, measured", heads, rows)]


def simulator(part: dict[str, Any]) -> list[Table]:
    """Compile times and cycles a second."""
    rows = [
        (
            item["geometry"],
            f"{item['cold']:.0f} s",
            f"{item['cached']:.2f} s",
            f"{item['engine']:,}",
            f"{item['clock']:,}",
        )
        for item in part["rows"]
    ]
    heads = ("lanes x banks", "first opened", "cached", "engine cycles a second", "clock cycles a second")
    what = "simulated and measured on this machine, images and results over the bus included"
    return [Table(f"{part['shape']} in Verilator, {what}", heads, rows)]


def rivals(part: dict[str, Any]) -> list[Table]:
    """What was built of two networks of one shape, how fast it answers, and how well."""
    names = {
        "hls4ml": f"dropout in hls4ml {part['version']}, `{part['precision']}`, C simulation",
        "float": "its float model in torch",
        "golden": "coins in the golden model",
        "verilator": f"coins in Verilator, {part['geometry']}",
    }
    rows = [
        (
            names[item["name"]],
            "-" if item["build"] is None else f"{item['build']:.1f} s",
            f"{1000 * item['seconds']:.4f}",
            f"{item['accuracy']:.1%}",
            "-" if item["agrees"] is None else f"{item['agrees']:.1%}",
        )
        for item in part["rows"]
    ]
    heads = (
        *("network", "built in", "an image and sample, ms", f"accuracy of {part['samples']} samples"),
        "agrees with its model",
    )
    what = f"{part['at_once']} images at once, one thread; accuracy of {part['images']:,} test images"
    return [Table(f"{part['shape']}, simulated and measured on this machine, {what}", heads, rows)]


def scale(part: dict[str, Any]) -> list[Table]:
    """Straight lines."""
    rows = [
        (
            name,
            f"{line['y']} = {line['slope']:.4g} x {line['x']} + {line['intercept']:.4g}",
            f"{line['points'][0][0]:.4g} .. {line['points'][-1][0]:.4g}",
            f"{line['residual']:.2%}",
        )
        for name, line in part["lines"].items()
    ]
    what = "Cost: CPU seconds are measured on this machine, cycles are predicted"
    return [Table(what, ("against", "line", "range", "farthest point, of the largest"), rows)]


def memory(part: dict[str, Any]) -> list[Table]:
    """Bytes against images."""
    rows = [
        (f"{item['images']:,}", f"{item['bytes'] / 1e6:,.0f} MB", f"{item['seconds']:.1f} s")
        for item in part["rows"]
    ]
    heads = ("images", "memory at most", "time, start of Python included")
    what = f"`synflip run` of one sample of {part['shape']} on the golden model, measured on this machine"
    return [Table(what, heads, rows)]


def start(part: dict[str, Any]) -> list[Table]:
    """Seconds of commands, beside what they may take."""
    rows = [
        (
            f"`{item['command']}`",
            *(f"{item[name]:.2f} s" for name in ("seconds", "processor")),
            "-" if item["wanted"] is None else f"{item['wanted']:g} s",
        )
        for item in part["rows"]
    ]
    heads = ("command", "from start to end", "of it on processors", "aim, idle machine")
    what = f"measured on this machine, the best turn of {part['turns']}"
    run = f"`synflip run` takes {part['images']} images through {part['shape']} on the golden model"
    return [Table(f"Commands, {what}; {run}", heads, rows)]


def cluster(part: dict[str, Any]) -> list[Table]:
    """One worker against two, the plan for many, and its check."""
    costs, samples = part["costs"], part["samples"]
    scaling = [
        (
            f"{item['kind']}, {item['images']:,} images",
            str(item["workers"]),
            f"{item['seconds']:.2f} s",
            f"{item['over_one']:.2f}",
            f"{item['over_alone']:.2f}",
        )
        for item in part["scaling"]
    ]
    plans = [
        (
            f"{item['workers']:,}",
            "through the client" if item["images"] == "client" else "by the workers",
            f"{item['tasks']:,}",
            duration(item["compute"]),
            duration(item["line"]),
            duration(item["seconds"]),
            f"{item['in_flight'] / 1e6:,.0f} MB",
        )
        for item in part["plans"]
    ]
    check = [
        (
            str(item["workers"]),
            f"{item['tasks']:,}",
            f"{item['task_seconds']:g} s",
            f"{item['seconds']:.2f} s",
            f"{item['measured']:.2f} s",
            f"{item['measured'] / item['seconds']:.2f}",
        )
        for item in part["check"]
    ]
    return [
        Table(
            f"{part['shape']}, {samples} samples of each image, golden model, measured on this machine: a "
            "worker is a process of one thread",
            ("", "workers", "time", "speed over one worker", "speed over one thread without a cluster"),
            scaling,
        ),
        Table(
            f"Predicted for {part['planned_images']:,} images x {samples} samples of {part['shape']} "
            f"({part['model_bytes']:,} bytes): {costs['speed']:,.0f} network samples x images a second and "
            f"worker, {1000 * costs['task']:.2f} ms of client and scheduler a task, "
            f"{costs['rate'] / 1e6:,.0f} MB/s through them, measured on this machine",
            ("workers", "images are read", "tasks", "workers compute", "client and scheduler", "together",
             "under way at most"),
            plans,
        ),
        Table(
            "The same prediction for workers that sleep, and what it took, measured on this machine",
            ("workers", "tasks", "a task sleeps", "predicted", "measured", "ratio"),
            check,
        ),
    ]  # fmt: skip


TABLES: Mapping[str, Callable[[dict[str, Any]], list[Table]]] = {
    "engine": engine,
    "balance": balance,
    "golden": golden,
    "convolutions": convolutions,
    "gpu": gpu,
    "simulator": simulator,
    "rivals": rivals,
    "scale": scale,
    "memory": memory,
    "start": start,
    "cluster": cluster,
}
