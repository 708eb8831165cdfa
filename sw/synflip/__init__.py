"""Neural networks whose weights are coin flips, as FPGA hardware.

    import synflip

    model = synflip.load("digits.safetensors")
    with synflip.open_device("verilator:64x8") as device:
        device.load(model)
        result = device.infer(pixels, samples=16, seed=1)

Importing this is quick: what a name needs (torch for the golden model) is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from synflip._version import __version__

if TYPE_CHECKING:
    from synflip import cluster as cluster
    from synflip import data as data
    from synflip import uncertainty as uncertainty
    from synflip.compiler.compile import compile_layers as compile_layers
    from synflip.compiler.compile import compile_network as compile_network
    from synflip.compiler.lane_balance import balance as balance
    from synflip.data.dataset import Dataset as Dataset
    from synflip.devices.accelerator import Accelerator as Accelerator
    from synflip.devices.registry import open_device as open_device
    from synflip.errors import ConversionWarning as ConversionWarning
    from synflip.errors import SynflipError as SynflipError
    from synflip.evaluation.evaluate import evaluate as evaluate
    from synflip.evaluation.foreign import fit_energy_threshold as fit_energy_threshold
    from synflip.inference.device import Device as Device
    from synflip.inference.result import Result as Result
    from synflip.modelfile import load as load
    from synflip.modelfile import save as save
    from synflip.spec.geometry import Geometry as Geometry
    from synflip.spec.model import CompiledModel as CompiledModel
    from synflip.training.convert import convert as convert
    from synflip.training.layers import SynapticNetwork as SynapticNetwork
    from synflip.training.train import train as train

#: Name -> module that holds it.
_LAZY = {
    "Accelerator": "synflip.devices.accelerator",
    "CompiledModel": "synflip.spec.model",
    "ConversionWarning": "synflip.errors",
    "Dataset": "synflip.data.dataset",
    "Device": "synflip.inference.device",
    "Geometry": "synflip.spec.geometry",
    "Result": "synflip.inference.result",
    "SynapticNetwork": "synflip.training.layers",
    "SynflipError": "synflip.errors",
    "balance": "synflip.compiler.lane_balance",
    "compile_layers": "synflip.compiler.compile",
    "compile_network": "synflip.compiler.compile",
    "convert": "synflip.training.convert",
    "evaluate": "synflip.evaluation.evaluate",
    "fit_energy_threshold": "synflip.evaluation.foreign",
    "load": "synflip.modelfile",
    "open_device": "synflip.devices.registry",
    "save": "synflip.modelfile",
    "train": "synflip.training.train",
}
#: Rooms whose names are used with theirs: ``synflip.data.load``.
_ROOMS = ("cluster", "data", "uncertainty")

__all__ = [
    "Accelerator",
    "CompiledModel",
    "ConversionWarning",
    "Dataset",
    "Device",
    "Geometry",
    "Result",
    "SynapticNetwork",
    "SynflipError",
    "__version__",
    "balance",
    "cluster",
    "compile_layers",
    "compile_network",
    "convert",
    "data",
    "evaluate",
    "fit_energy_threshold",
    "load",
    "open_device",
    "save",
    "train",
    "uncertainty",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"synflip.{name}")
    if name not in _LAZY:
        raise AttributeError(f"module 'synflip' has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value  # so that this is not asked again
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *_ROOMS})
