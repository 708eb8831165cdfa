"""What train and convert share."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from synflip.cli.console import table
from synflip.errors import SynflipError

if TYPE_CHECKING:
    from synflip.data.dataset import Dataset
    from synflip.training.feature_network import FeatureNetwork
    from synflip.training.layers import SynapticNetwork
    from synflip.training.loop import Step


def finish(
    network: "SynapticNetwork | FeatureNetwork",
    dataset: "Dataset",
    source: dict[str, Any],
    out: Path,
    samples: int,
    *rows: tuple[str, str],
    balanced: bool = False,
) -> None:
    """How train and convert end: compile, save, count votes, and say all that after ``rows``."""
    from synflip.util.progress import bar
    from synflip.workflows import compile_and_save

    with bar("Counting votes") as advance:
        found = compile_and_save(network, dataset, source, out, samples, balanced, advance)
    model = found.model
    table(
        f"{dataset.title}, {model.shape}, k = {model.bits}, A = {model.activation_bits}",
        *rows,
        ("test images", str(len(dataset.test_labels))),
        ("accuracy of one sample (mean)", f"{found.one_sample:.2%}"),
        (f"accuracy of the vote of {samples}", f"{found.vote:.2%}"),
        ("wrote", ", ".join(map(str, found.files))),
    )


def words(step: "Step") -> str:
    """Beside a bar: ``epoch 1 of 3, loss 0.123``."""
    return f"epoch {step.epoch} of {step.epochs}, loss {step.loss:.3f}"


def check_seed(seed: int) -> None:
    """Raises SynflipError for a seed that torch does not take."""
    if seed >> 63:
        raise SynflipError(f"the seed of a training must be in 0..2**63-1, not {seed}")
