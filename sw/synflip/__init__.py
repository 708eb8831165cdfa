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
    from synflip.devices.accelerator import Accelerator as Accelerator
    from synflip.devices.registry import open_device as open_device
    from synflip.errors import ConversionWarning as ConversionWarning
    from synflip.errors import SynflipError as SynflipError
    from synflip.inference.result import Result as Result
    from synflip.modelfile import load as load
    from synflip.modelfile import save as save
    from synflip.spec.geometry import Geometry as Geometry
    from synflip.spec.model import CompiledModel as CompiledModel
    from synflip.training.convert import convert as convert

#: Name -> module that holds it.
_LAZY = {
    "Accelerator": "synflip.devices.accelerator",
    "CompiledModel": "synflip.spec.model",
    "ConversionWarning": "synflip.errors",
    "Geometry": "synflip.spec.geometry",
    "Result": "synflip.inference.result",
    "SynflipError": "synflip.errors",
    "convert": "synflip.training.convert",
    "load": "synflip.modelfile",
    "open_device": "synflip.devices.registry",
    "save": "synflip.modelfile",
}

__all__ = [
    "Accelerator",
    "CompiledModel",
    "ConversionWarning",
    "Geometry",
    "Result",
    "SynflipError",
    "__version__",
    "convert",
    "load",
    "open_device",
    "save",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'synflip' has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value  # so that this is not asked again
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
