"""Inference on many machines, by Dask: a request is cut into pieces, which its workers compute.

Imports ``devices``, ``inference``, ``spec``, ``util`` and the rooms below. The extra ``cluster`` brings Dask.
"""

from typing import TYPE_CHECKING, Any

from synflip.util.extras import require

if TYPE_CHECKING:
    from synflip.cluster.device import ClusterDevice as ClusterDevice
    from synflip.cluster.device import infer as infer

__all__ = ["ClusterDevice", "infer"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'synflip.cluster' has no attribute {name!r}")
    require("distributed")
    from synflip.cluster import device

    return getattr(device, name)
