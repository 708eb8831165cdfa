"""The parts of a bench: what each measures, and the run through them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from synflip.benchmarks import (
    boards,
    engine_cycles,
    golden_cpu,
    golden_gpu,
    lane_balance,
    machine,
    memory,
    scaling,
    simulator,
)
from synflip.benchmarks.findings import Store
from synflip.benchmarks.networks import Models
from synflip.errors import SynflipError

PARTS: Mapping[str, Callable[[Models], dict[str, Any]]] = {
    "engine": engine_cycles.measure,
    "balance": lane_balance.measure,
    "golden": golden_cpu.measure,
    "gpu": golden_gpu.measure,
    "simulator": simulator.measure,
    "scale": scaling.measure,
    "memory": memory.measure,
    "headline": boards.measure,
}


def chosen(only: str | None) -> list[str]:
    """``engine,golden`` to names; all if None, but without a GPU not its part. Raises SynflipError."""
    if only is None:
        return [name for name in PARTS if name != "gpu" or torch.cuda.is_available()]
    names = [name.strip() for name in only.split(",")]
    for name in names:
        if name not in PARTS:
            raise SynflipError(f"no part {name!r} in the bench; there are {', '.join(PARTS)}")
    return names


def measure(
    store: Store, names: Sequence[str], models: Models, advance: Callable[..., None] = lambda *_: None
) -> list[str]:
    """Measure those of the parts that are not in the store yet, keep each once it is done; their names."""
    fresh = [name for name in names if name not in store.parts]
    for done, name in enumerate(fresh):
        advance(done, len(fresh), name)
        before = machine.load()
        found = PARTS[name](models)
        store.keep(name, found | {"load": [before, machine.load()]})
    return fresh
