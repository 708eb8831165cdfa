"""The networks of the bench, trained once and kept in the folder of its findings."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synflip import modelfile
from synflip.data.dataset import Dataset
from synflip.data.registry import load
from synflip.errors import SynflipError
from synflip.spec.model import CompiledModel

BITS, ACTIVATION_BITS, SEED = 4, 8, 0
#: Name -> data set, hidden layers.
NETWORKS = {
    "mnist-512": ("mnist", (512, 512)),
    "mnist-200": ("mnist", (200, 200)),
    "fashion-512": ("fashion-mnist", (512, 512)),
    "digits": ("digits", (64, 128)),
}
EPOCHS = {"digits": 10}
QUICK_EPOCHS, FULL_EPOCHS = 1, 5
QUICK_IMAGES = 3000  # that networks of a quick bench are trained on
#: What must be said beside every figure of a quick bench.
QUICK_NOTE = (
    f"Quick: networks trained for {QUICK_EPOCHS} epoch on {QUICK_IMAGES:,} images, few cases, few turns. "
    "These numbers show what there is; they mean nothing else."
)


@dataclass
class Models:
    """Networks by name. folder: where they are kept. given: files to take instead of training."""

    folder: Path
    quick: bool
    given: dict[str, Path] = field(default_factory=dict)
    say: Callable[[str], None] = lambda text: None
    _data: dict[str, Dataset] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.given:
            if name not in NETWORKS:
                raise SynflipError(f"no network {name!r} in the bench; there are {', '.join(NETWORKS)}")

    def data(self, name: str) -> Dataset:
        """The data set of a network. Raises SynflipError if it is not there."""
        source = NETWORKS[name][0]
        if source not in self._data:
            self._data[source] = load(source)
        return self._data[source]

    def images(self, name: str, count: int) -> NDArray[np.uint8]:
        """``count`` test images, spread over the set; if there are too few, images come again."""
        return self.data(name).test_images[self._spread(name, count)]

    def labels(self, name: str, count: int) -> NDArray[np.int64]:
        """The labels of ``images``."""
        return self.data(name).test_labels[self._spread(name, count)]

    def _spread(self, name: str, count: int) -> NDArray[np.int64]:
        there = len(self.data(name).test_labels)
        return np.arange(count) * max(there // count, 1) % there

    def training(self, name: str) -> tuple[Dataset, int]:
        """The data that a network is trained on, of which a quick bench takes few images, and the epochs."""
        data, source = self.data(name), NETWORKS[name][0]
        if self._short(source):
            few = slice(QUICK_IMAGES)
            data = replace(data, train_images=data.train_images[few], train_labels=data.train_labels[few])
        return data, EPOCHS.get(source, QUICK_EPOCHS if self.quick else FULL_EPOCHS)

    def _short(self, source: str) -> bool:
        return self.quick and source not in EPOCHS

    def model(self, name: str) -> CompiledModel:
        """The network, trained if it is not in the folder. Raises SynflipError."""
        if name in self.given:
            return modelfile.load(self.given[name])
        source, hidden = NETWORKS[name]
        kind = "quick" if self._short(source) else EPOCHS.get(source, FULL_EPOCHS)
        path = self.folder / f"{name}-{kind}.safetensors"
        if not path.exists():
            from synflip.compiler.compile import compile_network
            from synflip.training.train import train

            data, epochs = self.training(name)
            self.say(f"training {name}")
            network = train(data, hidden, BITS, ACTIVATION_BITS, epochs, SEED)
            found = {"data": data.title, "seed": SEED, "epochs": epochs}
            modelfile.save(compile_network(network, data.classes, data.input_max, found), path)
        return modelfile.load(path)
