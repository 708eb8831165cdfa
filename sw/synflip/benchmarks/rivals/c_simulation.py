"""hls4ml's C simulation: the C++ that it would give to high-level synthesis, compiled with g++ and run here.

hls4ml: Fahim et al., 2021, arXiv 2103.05579. The compiled library reads its weights from files at its first
call, so the folder of the build lasts as long as the simulation.
"""

import importlib.metadata
import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synflip.benchmarks.rivals.dropout import Forward, MaskedNetwork
from synflip.errors import SynflipError
from synflip.util.extras import require
from synflip.util.programs import scratch_folder
from synflip.util.text import first_line, one_line

PACKAGE = "hls4ml"
PRECISION, STRATEGY = "ap_fixed<16,6>", "Resource"


def version() -> str:
    """The version of hls4ml. Raises SynflipError, which says what to install, if it is missing."""
    require(PACKAGE)
    return importlib.metadata.version(PACKAGE)


@contextmanager
def simulation(network: MaskedNetwork) -> Iterator[tuple[Forward, float]]:
    """The network in fixed point, as compiled C++, and the seconds that it took to convert and compile it.

    Every number has 16 bits, 6 of them in front of the point. Raises SynflipError.
    """
    require(PACKAGE)
    with scratch_folder() as folder:
        began = time.perf_counter()
        model = _said_in_errors(lambda: _compiled(network, str(folder / "project")))
        seconds = time.perf_counter() - began

        def forward(*inputs: NDArray[np.float32]) -> NDArray[np.float32]:
            return model.predict([np.ascontiguousarray(one) for one in inputs]).reshape(len(inputs[0]), -1)

        yield forward, seconds


def _compiled(network: MaskedNetwork, folder: str) -> Any:
    import hls4ml

    backend = {"backend": "Vivado"}
    shapes = [(width,) for width in network.widths()]
    settings = hls4ml.utils.config_from_pytorch_model(
        network, shapes, granularity="name", default_precision=PRECISION, default_reuse_factor=1, **backend
    )
    settings["Model"]["Strategy"] = STRATEGY
    model = hls4ml.converters.convert_from_pytorch_model(
        network, hls_config=settings, output_dir=folder, io_type="io_parallel", **backend
    )
    model.compile()
    return model


def _said_in_errors(work: Callable[[], Any]) -> Any:
    """What ``work`` gives. hls4ml prints its progress, and in front of an error what the compiler said."""
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            return work()
    except Exception as error:  # hls4ml raises Exception itself
        last = (printed.getvalue().strip().splitlines() or [""])[-1]
        raise SynflipError(one_line(f"hls4ml fails: {first_line(error)} {last}".strip())) from error
