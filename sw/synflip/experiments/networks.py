"""Networks of a report: trained when they are first asked for, then read from its folder."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from synflip._version import __version__
from synflip.compiler.compile import compile_network
from synflip.data.dataset import Dataset
from synflip.data.registry import load
from synflip.errors import ConversionWarning
from synflip.experiments import datasets
from synflip.experiments.findings import ResultCache, Tensors
from synflip.experiments.recipes import Budget, Coins, Float
from synflip.experiments.rivals.clipped import Clipped, flipped
from synflip.experiments.rivals.masksembles import Masksembles
from synflip.experiments.rivals.rival import Rival
from synflip.experiments.rivals.sngp import Sngp
from synflip.spec.model import CompiledModel
from synflip.training import baseline, convnets, train
from synflip.training.convert import convert
from synflip.training.feature_network import FeatureNetwork
from synflip.training.layers import SynapticNetwork
from synflip.training.loop import TrainStep
from synflip.training.shapes import default_filters, default_hidden
from synflip.util.threads import one_thread

#: Rivals that are trained, by the name that their recipes have.
RIVALS: dict[str, Callable[[Dataset, Sequence[int], int], Rival]] = {
    "masksembles": Masksembles,
    "sngp": Sngp,
    "clipped": Clipped,
    "clipped, positive": partial(Clipped, signed=False),
}
#: Called with the name of the work, the steps done, and their total.
Say = Callable[[str, int, int], None]


def before_flipping(recipe: Coins) -> Float:
    """The ordinary network whose weights become the coins of a ``flipped`` recipe."""
    rival = "clipped" if recipe.signed else "clipped, positive"
    return replace(recipe.teacher(recipe.seed), rival=rival)


class Context:
    """The surroundings of an experiment: budget, cache, data sets, networks, and ``say`` for progress.

    own: data sets of the user's files, as ``datasets.own`` makes them.
    """

    def __init__(
        self,
        budget: Budget,
        cache: ResultCache,
        say: Say = lambda what, done, total: None,
        own: Sequence[Dataset] = (),
    ) -> None:
        self.budget, self.cache, self.say = budget, cache, say
        self._data = {dataset.name: dataset for dataset in own}
        self._out_of_distribution: dict[str, dict[str, NDArray[np.uint8]]] = {}

    def data(self, name: str) -> Dataset:
        """A data set, read once."""
        if name not in self._data:
            self._data[name] = load(name)
        return self._data[name]

    def out_of_distribution(self, name: str) -> dict[str, NDArray[np.uint8]]:
        """Out-of-distribution images for networks of this data set: see ``datasets.out_of_distribution``."""
        if name not in self._out_of_distribution:
            self._out_of_distribution[name] = datasets.out_of_distribution(self.data(name))
        return self._out_of_distribution[name]

    def held_out(self, name: str) -> int:
        """Training images that are held out for calibration: those of the budget, at most a fifth of all."""
        return min(self.budget.held_out, len(self.data(name).train_labels) // 5)

    def recipe(self, data: str, hidden: Sequence[int], epochs: int, **settings: Any) -> Coins:
        """The recipe of a network of coins without convolutions: images are moved in training, rows not."""
        return Coins(data, tuple(hidden), epochs, augment=not datasets.is_table(self.data(data)), **settings)

    def float_recipe(self, data: str, hidden: Sequence[int], epochs: int, **settings: Any) -> Float:
        """The same of an ordinary network."""
        return Float(data, tuple(hidden), epochs, augment=not datasets.is_table(self.data(data)), **settings)

    def coins(self, recipe: Coins) -> CompiledModel:
        """The compiled network of a recipe, from the cache or trained now."""
        return self.cache.model(recipe.settings, lambda: self._train_coins(recipe))

    def ordinary(self, recipe: Float) -> nn.Sequential:
        """The ordinary network of a recipe, in evaluation mode: float32 images [N, I] in 0..1 to logits, see
        ``Rival``."""
        dataset = self.data(recipe.data)
        network: nn.Sequential
        if recipe.conv:
            network = convnets.float_network(dataset, seed=recipe.seed)
        elif recipe.rival:
            network = RIVALS[recipe.rival](dataset, recipe.hidden, recipe.seed)
        else:
            network = baseline.float_network(dataset, recipe.hidden, recipe.seed, recipe.dropout)
        state = self.cache.tensors("float", recipe.settings, lambda: self._train_float(network, recipe))
        network.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
        return network.eval()

    def _train_coins(self, recipe: Coins) -> CompiledModel:
        dataset = self.training_data(recipe.data, recipe.held_out, recipe.kept)
        source = {**recipe.settings, "data": dataset.title, "synflip": __version__}
        if recipe.made == "flipped":
            clipped = self.ordinary(before_flipping(recipe))
            model = flipped(clipped, dataset, recipe.bits, recipe.seed)
            return replace(model, source={**source, **model.source})
        settings: dict[str, Any] = {
            "bits": recipe.bits,
            "epochs": recipe.epochs,
            "seed": recipe.seed,
            "augment": recipe.augment,
            "progress": self._show(f"k = {recipe.bits}, seed {recipe.seed}", recipe.data),
        }
        network: SynapticNetwork | FeatureNetwork
        if recipe.made == "converted":
            fine = settings["epochs"] = recipe.epochs // 3
            ordinary = replace(recipe.teacher(recipe.seed), epochs=recipe.epochs - fine)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConversionWarning)  # the table has the accuracy
                network = convert(self.ordinary(ordinary), data=dataset, **settings)
            return compile_network(network, dataset.classes, dataset.input_max, source)
        settings["mean_of"] = recipe.mean_of
        settings["teachers"] = [self.ordinary(recipe.teacher(seed)) for seed in range(recipe.teachers)]
        if recipe.noise is not None:
            settings["noise"] = recipe.noise
        if recipe.sampled:
            hidden, filters = default_hidden(dataset), default_filters(dataset)
            network = train.train(dataset, hidden, filters=filters, **settings)
        elif recipe.conv:
            network = convnets.train(dataset, **settings)
        else:
            network = train.train(dataset, recipe.hidden, signed=recipe.signed, **settings)
        return compile_network(network, dataset.classes, dataset.input_max, source)

    def _train_float(self, network: nn.Sequential, recipe: Float) -> Tensors:
        dataset = self.training_data(recipe.data, recipe.held_out)
        rival = network if isinstance(network, Rival) else None
        with torch.random.fork_rng(devices=[]):  # dropout draws from the global generator
            torch.manual_seed(recipe.seed)
            show = self._show(f"{recipe.rival or 'float'}, seed {recipe.seed}", recipe.data)
            settings = dataset, recipe.epochs, recipe.seed, recipe.augment, show
            if rival:
                with one_thread():
                    rival.fit(*settings)
                    rival.settle(torch.from_numpy(dataset.train_images).float() / dataset.input_max)
            else:
                baseline.fit_float(network, *settings)
        return {name: value.numpy() for name, value in network.state_dict().items()}

    def training_data(self, name: str, held_out: int, kept: float = 1.0) -> Dataset:
        """A data set without what is held out, and with that share of the images of the rare class."""
        dataset = self.data(name)
        if held_out:
            dataset, _, _ = datasets.held_out(dataset, held_out)
        return dataset if kept == 1 else datasets.rarer(dataset, kept)

    def _show(self, what: str, data: str) -> Callable[[TrainStep], None]:
        return lambda step: self.say(f"training {data}, {what}", step.step, step.steps)
