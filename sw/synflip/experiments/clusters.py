"""Experiments as tasks of a Dask cluster, whose workers share the report's folder and write into it.

A row is a function of its settings, and its file is written whole or not at all. So it does not matter who
makes it, nor whether two do. What the workers have made, the report only reads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from distributed import Client

from synflip.cluster.tasks import Crew, Tasks, check_versions, submit
from synflip.cluster.worker import explained, same, versions
from synflip.data.dataset import Dataset
from synflip.errors import SynflipError
from synflip.experiments import registry
from synflip.experiments.findings import ResultCache
from synflip.experiments.networks import Context
from synflip.experiments.recipes import Budget

FIRST = "headline"  # trains the networks that others look at
LAST = "targets"  # looks at what others found


@dataclass(frozen=True)
class Surroundings:
    """What a worker makes a Context of. mark: a file in the folder. versions: of the client."""

    budget: Budget
    folder: Path
    command: str
    commit: str
    own: tuple[Dataset, ...]
    mark: Path
    versions: dict[str, str]


def run_experiment(surroundings: Surroundings, name: str, data: str) -> None:
    """Run an experiment, on a worker. Raises SynflipError."""
    here = surroundings
    with explained(f"{name}, {data}", here.versions):
        if not here.mark.is_file():
            raise SynflipError(
                f"{here.folder} is another folder here: --out must be one that all machines share"
            )
        cache = ResultCache(here.folder, here.command, here.commit)
        (item,) = registry.chosen([name])
        item.run(Context(here.budget, cache, own=here.own), data)


def fill(
    client: Client,
    context: Context,
    names: list[str],
    only: list[str] | None,
    watch: registry.Watch,
    own: Sequence[Dataset] = (),
) -> None:
    """Let the workers make the rows of ``registry.run``, which then reads them.

    own: data sets of the user's files. Raises SynflipError for what an experiment refuses, for a worker that
    does not share the folder, and if no worker or no scheduler is left.
    """
    todo = [(item.name, data) for item, data in registry.work(context, names, only) if item.name != LAST]
    cache, done = context.cache, 0
    crew = Crew(client, {})
    check_versions(client)
    with NamedTemporaryFile(dir=cache.folder, prefix=".cluster-") as mark:
        surroundings = Surroundings(
            context.budget, cache.folder.absolute(), cache.command, cache.commit, tuple(own),
            Path(mark.name).absolute(), versions(),
        )  # fmt: skip
        held = submit(client, same, surroundings)
        tasks = Tasks(client, crew)
        try:
            for wave in (True, False):
                for name, data in todo:
                    if (name == FIRST) == wave:
                        what = f"{name}, {data}"
                        tasks.add(submit(client, run_experiment, held, name, data), what, what)
                while tasks:
                    what, _ = tasks.next()
                    done += 1
                    watch(what, done, len(todo))
        finally:
            tasks.cancel()
