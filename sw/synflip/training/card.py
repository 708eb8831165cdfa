"""The card of a network: where it comes from, which the file of its compiled model says too."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synflip._version import __version__

# torch and numpy are imported when they are first used: the command line must not wait for them.
if TYPE_CHECKING:
    from torch import Tensor, nn

    from synflip.data.dataset import Dataset

MAX_NUMBERS = 4096  # of a mean or standard deviation that a card keeps: a model file's header is limited


def data_digest(data: "Dataset") -> str:
    """SHA-256, in hexadecimal, of a data set's arrays; of features as float64, however they are kept."""
    from synflip.util.arrays import digest

    kind = None if data.input_quantizer is None else "f8"
    arrays = [data.train_images, data.train_labels, data.test_images, data.test_labels]
    return digest(arrays, [kind, None, kind, None])


def card(data: "Dataset", seed: int, epochs: int, augment: bool, **others: Any) -> dict[str, Any]:
    """What a network was trained on, how, and by which versions; JSON values.

    data: its title, which says what drew the test part if that was not given, its hash, and the quantiles of
    its features' ranges if values are cut off. others: more of the recipe.
    """
    import numpy as np
    import torch

    quantiles = None if data.input_quantizer is None else data.input_quantizer.quantiles
    return {
        "data": data.title,
        "data_sha256": data_digest(data),
        **({} if quantiles in (None, (0, 1)) else {"quantiles": list(quantiles)}),
        "seed": seed,
        "epochs": epochs,
        "augment": bool(augment),
        **others,
        "synflip": __version__,
        "torch": torch.__version__.split("+")[0],
        "numpy": np.__version__,
    }


def named(what: str, network: "nn.Module") -> dict[str, Any]:
    """What a card calls a network, under ``what``: the name of its file, with the digest, or its class."""
    from synflip.modelfile.onnx import Onnx
    from synflip.modelfile.pt2 import Program

    if not isinstance(network, Onnx | Program) or network.path is None:
        return {what: type(network).__name__}
    return {what: Path(network.path).name, f"{what}_sha256": network.sha256}


def normalisation(
    mean: "float | Sequence[float] | Tensor", std: "float | Sequence[float] | Tensor"
) -> dict[str, list[float]]:
    """The mean and standard deviation as lists, unless they are longer than a card takes."""
    import numpy as np

    found = {}
    for name, value in (("mean", mean), ("std", std)):
        numbers = np.array(value.tolist() if hasattr(value, "tolist") else value, np.float64).reshape(-1)
        if len(numbers) <= MAX_NUMBERS:
            found[name] = numbers.tolist()
    return found
