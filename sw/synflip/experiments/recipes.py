"""Settings: recipes of networks, and the budget of a report. Files in its cache are named by them."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

#: Each rises when the same settings give another network: what an earlier training gave is then made again.
FLOAT_TRAINING = 3
COIN_TRAINING = 4


@dataclass(frozen=True)
class Float:
    """An ordinary network of the same shape. dropout: share of each hidden layer's outputs left out. rival:
    its name in ``networks.RIVALS``, if it has something more."""

    data: str
    hidden: tuple[int, ...]
    epochs: int
    seed: int = 0
    augment: bool = True
    conv: bool = False
    dropout: float = 0.0
    held_out: int = 0
    rival: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        """As JSON holds them."""
        return {"network": "float", "training": FLOAT_TRAINING, **asdict(self)}


@dataclass(frozen=True)
class Coins:
    """A network of coins, trained and compiled. conv: behind convolutions, whose heads are the defaults;
    sampled: the convolutions are coins too.

    kept: share of the training images of class ``datasets.RARE`` that are left. held_out: how many training
    images, the last ones, are not trained on. teachers: how many ordinary networks of the same shape and
    epochs, of the seeds 0, 1, .., it learns from. made: ``trained``; ``converted`` from an ordinary network
    of two thirds of the epochs, and fine-tuned for the others; or ``flipped``, the coins of a clipped one, to
    [-1, 1] or, unless ``signed``, to [0, 1]. noise: share of it in training; None is the default.
    """

    data: str
    hidden: tuple[int, ...]
    epochs: int
    bits: int = 4
    seed: int = 0
    augment: bool = True
    conv: bool = False
    mean_of: int = 1
    signed: bool = True
    kept: float = 1.0
    held_out: int = 0
    teachers: int = 0
    sampled: bool = False
    made: str = "trained"
    noise: float | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """As JSON holds them."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return {"network": "coins", "training": COIN_TRAINING, **given}

    def teacher(self, seed: int) -> Float:
        """The recipe of the teacher with this seed."""
        return Float(
            self.data, self.hidden, self.epochs, seed, self.augment, self.conv, held_out=self.held_out
        )


def digest(settings: dict[str, Any]) -> str:
    """16 hexadecimal digits that stand for settings in names of files."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Budget:
    """How much of everything.

    epochs: of the networks whose figures have targets and of what they are compared with. sweep: epochs of
    networks that are compared with each other only. conv, colour: epochs of convolutional ones. samples: of
    an answer. most: of the curve of accuracy. seeds: of the headline rows. members: of the ensemble. mean_of:
    of the network trained on the mean. others: shapes beside ``hidden``. held_out: training images that fit
    temperatures; networks of ``epochs``, ``conv`` and ``colour`` are not trained on them. noise: of
    probabilities. shares: of the noise in training. precisions: of weights that are redrawn.
    """

    hidden: tuple[int, ...] = (512, 512)
    others: tuple[tuple[int, ...], ...] = ((1024, 512), (400,))
    epochs: int = 30
    sweep: int = 5
    conv: int = 15
    colour: int = 12
    samples: int = 64
    most: int = 1024
    seeds: tuple[int, ...] = (0, 1, 2)
    members: int = 5
    mean_of: int = 4
    front: tuple[int, ...] = (1, 2, 4, 8)
    bits: tuple[int, ...] = (1, 2, 3, 4, 6, 8)
    noise: tuple[float, ...] = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)
    shares: tuple[float, ...] = (1.0, 0.7, 0.5, 0.3, 0.0)
    kept: tuple[float, ...] = (1.0, 0.5, 0.1, 0.01, 0.0)
    precisions: tuple[float, ...] = (100.0, 10.0, 3.0)
    dropout: float = 0.2
    held_out: int = 5000
    gallery: int = 12


QUICK = Budget(
    hidden=(24,),
    others=((16, 16),),
    epochs=10,
    sweep=4,
    conv=2,
    samples=8,
    most=16,
    seeds=(0, 1),
    members=2,
    mean_of=2,
    front=(1, 2),
    bits=(1, 4),
    noise=(0.0, 0.1),
    shares=(1.0, 0.0),
    kept=(1.0, 0.0),
    precisions=(10.0,),
    held_out=200,
    gallery=4,
)
