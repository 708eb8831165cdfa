"""The parts of a bench by name, and the run through them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from synflip.benchmarks import (
    engine_cycles,
    golden_convolutions,
    golden_cpu,
    golden_gpu,
    lane_balance,
    machine,
    memory,
    scaling,
    simulator,
    start_up,
)
from synflip.benchmarks.findings import Findings
from synflip.benchmarks.networks import Models
from synflip.benchmarks.rivals import comparison
from synflip.benchmarks.rivals.c_simulation import PACKAGE
from synflip.errors import SynflipError
from synflip.golden.products import kernels_for
from synflip.util.extras import require


def _cluster(models: Models) -> dict[str, Any]:
    from synflip.benchmarks import clusters  # here, not above: it needs an extra

    return clusters.run(models)


PARTS: Mapping[str, Callable[[Models], dict[str, Any]]] = {
    "engine": engine_cycles.run,
    "balance": lane_balance.run,
    "golden": golden_cpu.run,
    "convolutions": golden_convolutions.run,
    "gpu": golden_gpu.run,
    "simulator": simulator.run,
    "rivals": comparison.run,
    "scale": scaling.run,
    "memory": memory.run,
    "start": start_up.run,
    "cluster": _cluster,
}
#: Parts, and the package of an extra that each needs.
NEEDS = {"rivals": PACKAGE, "cluster": "distributed"}

#: Parts whose tables differ most between kinds of processors.
BY_PROCESSOR = ("golden", "convolutions", "simulator")


def page_section(name: str) -> str:
    """The section of a page that a part's tables go to.

    Of the parts in BY_PROCESSOR it has the way to multiply that is taken here behind its name, as in
    ``golden-avx2``, so that a page keeps the tables of several kinds of processors.
    """
    return f"{name}-{kernels_for()[0]}" if name in BY_PROCESSOR else name


def chosen(only: str | None, say: Callable[[str], None] = lambda line: None) -> list[str]:
    """The names in ``only``, such as ``engine,golden``.

    None: all, without ``gpu`` if torch finds none, and without those of NEEDS whose package is missing;
    ``say`` is then given the line for people. Raises SynflipError for an unknown name, and for the missing
    package of one in ``only``.
    """
    if only is None:
        names = [name for name in PARTS if name != "gpu" or torch.cuda.is_available()]
        for name, package in NEEDS.items():
            try:
                require(package)
            except SynflipError as error:
                names.remove(name)
                say(f"left out: {name}, for {error}")
        return names
    names = [name.strip() for name in only.split(",")]
    for name in names:
        if name not in PARTS:
            raise SynflipError(f"no part {name!r} in the bench; there are {', '.join(PARTS)}")
        if name in NEEDS:
            require(NEEDS[name])  # before minutes of other parts
    return names


def run(
    findings: Findings, names: Sequence[str], models: Models, advance: Callable[..., None] = lambda *_: None
) -> list[str]:
    """Measure those of the parts that are not in the findings yet, keep each once it is done; their names."""
    fresh = [name for name in names if name not in findings.parts]
    for done, name in enumerate(fresh):
        advance(done, len(fresh), name)
        before = machine.load()
        found = PARTS[name](models)
        findings.keep(name, found | {"load": [before, machine.load()]})
    return fresh
