"""The data set that a model is tried on: of evaluate, margins and serve."""

from typing import TYPE_CHECKING

from synflip.cli.console import warn
from synflip.cli.options import picture_size

# Nothing else here: `synflip --help` must not wait for torch, nor even for numpy.
if TYPE_CHECKING:
    from synflip.data.dataset import Dataset
    from synflip.spec.model import CompiledModel


def load_for(
    model: "CompiledModel", name: str, asked: bool, label: str | None, header: bool, size: str | None
) -> "Dataset":
    """The data set called ``name``, with the test part that was held out when the model was trained.

    asked: whether ``--data`` names it, so that it may be another than the model's; then a warning says if
    rows of the training may be in the test part. label, header, size: the options. Raises SynflipError.
    """
    from synflip.data.registry import load, split_seed
    from synflip.workflows import check_data, doubt

    found = load(name, label, header, picture_size(size), split_seed(model) or 0, model)
    if not asked:
        check_data(model, found)
    elif line := doubt(model, found):
        warn(line)
    return found
