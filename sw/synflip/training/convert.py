"""Conversion of trained ordinary networks to networks of coins."""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from synflip.data.dataset import Dataset, require_dataset
from synflip.errors import ConversionWarning, SynflipError
from synflip.modelfile.extractor import Extractor, copied, export, image_shape, log2_step
from synflip.modelfile.network import load_network
from synflip.modelfile.pt2 import load
from synflip.spec.convolution import Convolution
from synflip.spec.features import BLOCK, Features, quantised
from synflip.spec.input_quantizer import InputQuantizer
from synflip.spec.model import pixels_to_activations
from synflip.spec.sizes import MAX_ACTIVATION_BITS
from synflip.training.card import card, named, normalisation
from synflip.training.checkpoint import Checkpoint, checkpoint_of, end
from synflip.training.feature_network import ChannelsLast, FeatureNetwork, Normalise, per_channel
from synflip.training.ladder import LOSS, VOTES, Ladder, vote_accuracies
from synflip.training.layers import SynapticNetwork, channels_first, check_bits
from synflip.training.loop import TEST_BATCH, Progress
from synflip.training.ordinary import (
    Ordinary,
    OrdinaryLayer,
    Trained,
    check_hooks,
    evaluating,
    logits,
    place_of,
    same,
)
from synflip.training.scales import Scales, initialise, temper, without_unseen
from synflip.training.train import RATE as NEW_RATE
from synflip.training.train import fit_coins
from synflip.util.arrays import flag, training_seed, whole_number
from synflip.util.progress import check_progress
from synflip.util.text import first_line
from synflip.util.threads import one_thread

EPOCHS = 10
RATE = 0.01  # a third of training's, because the weights are nearly right
MEASURED = 1000  # training images that scales are measured on
RANGED = 10_000  # training images in which an input or unit must change to count
CHECKED = 64  # training images that the network itself is run on
OUTLYING = 4.0  # times a typical large weight: larger ones are named where accuracy was lost
TYPICAL = 0.99  # of a layer's weights are smaller than a typical large one


@overload
def convert(
    network: nn.Module | str | Path,
    head: None = None,
    *,
    features: None = None,
    data: Dataset,
    bits: int = 4,
    activation_bits: int = 8,
    epochs: int = EPOCHS,
    seed: int = 0,
    augment: bool = False,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    progress: Progress | bool | None = None,
    checkpoint: str | Path | Checkpoint | None = None,
    resume: bool = False,
    check_sizes: Callable[[list[int]], None] | None = None,
) -> SynapticNetwork: ...


@overload
def convert(
    network: nn.Module | str | Path,
    head: nn.Module | Sequence[int] | None = None,
    *,
    features: str | None = None,
    data: Dataset,
    bits: int = 4,
    activation_bits: int = 8,
    epochs: int = EPOCHS,
    seed: int = 0,
    augment: bool = False,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    progress: Progress | bool | None = None,
    checkpoint: str | Path | Checkpoint | None = None,
    resume: bool = False,
    check_sizes: Callable[[list[int]], None] | None = None,
) -> FeatureNetwork: ...


def convert(
    network: nn.Module | str | Path,
    head: nn.Module | Sequence[int] | None = None,
    *,
    features: str | None = None,
    data: Dataset,
    bits: int = 4,
    activation_bits: int = 8,
    epochs: int = EPOCHS,
    seed: int = 0,
    augment: bool = False,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    progress: Progress | bool | None = None,
    checkpoint: str | Path | Checkpoint | None = None,
    resume: bool = False,
    check_sizes: Callable[[list[int]], None] | None = None,
) -> SynapticNetwork | FeatureNetwork:
    """A network of coins with the mean outputs of a trained network, fine-tuned.

    network: a module of dense layers and convolutions that torch.export follows, or the path of one,
        MODEL.onnx or MODEL.pt2. It takes (pixel / input_max - mean) / std, [N, I] or
        [N, C, H, W]; all its weights become coins. With a head, any module that takes the same as
        [N, C, H, W] and gives [N, F], none below 0; it stays as it is: only the head's weights become coins.
    head: a trained module as above that takes the features, or the outputs of new hidden layers.
    features: in place of a head, the name of a layer of the network, such as ``conv2``: that layer, what is
        in front of it and what comes before the next weights stay as they are, the rest becomes coins. Of
        ``pool``, used twice, the uses are ``pool`` and ``pool@1``; of ONNX, names are those of the nodes.
    data: for measuring activations and fine-tuning. epochs: of fine-tuning; 0 leaves it out. bits: k.
    activation_bits: A. seed: of new weights, noise and the order of images. progress: True shows a bar; or a
    function that is called after every step with a TrainStep. augment: move images a little, those in colour
    are mirrored too; not with a head, whose features are computed once. mean, std: one number, or one for
    each channel or each pixel. Of features of any range, x, the network takes (x - mean) / std. checkpoint:
    of the fine-tuning, a file, ``m.checkpoint.safetensors``, for what Ctrl-C would lose: then it is written,
    and ``Interrupted``, a KeyboardInterrupt, is raised. resume: go on from that file.
    check_sizes: called before the fine-tuning with inputs and outputs of the layers of coins; it raises
    SynflipError if they do not fit an accelerator.
    The networks given are left as they are. The same seed gives the same network on the same kind of machine.
    The network that is returned has the test accuracies in ``ladder``; a loss of more than a point, and
    then outlying weights with the price of cutting them off, are said by a ConversionWarning.
    Raises SynflipError, naming the module and its type, for what cannot be coins.
    """
    require_dataset(data)
    epochs, seed = whole_number(epochs, "epochs"), training_seed(seed)
    if epochs < 0:
        raise SynflipError(f"epochs must not be negative, not {epochs}")
    augment = flag(augment, "augment")
    check_progress(progress, "a TrainStep")
    bits, activation_bits = check_bits(bits, activation_bits)
    kept = checkpoint_of(checkpoint, resume)
    given = _Given(data, mean, std)
    if data.input_quantizer is not None:
        pictures = head is not None or features is not None
        data, mean, std = _as_pixels(data, data.input_quantizer, mean, std, pictures)
    if isinstance(network, str | Path):
        network = load_network(network) if head is None else load(network)
    conversion = _Conversion(given, data, bits, activation_bits, epochs, seed, progress, kept, check_sizes)
    parts = named("network" if head is None else "features", network)
    if isinstance(head, nn.Module):
        parts |= named("network", head)
    if features is not None:
        if head is not None:
            raise SynflipError(f"features is {features!r}, and a head is given: the network is split by one")
        parts["features"] = features
        network, head = conversion.split(network, features, mean, std)
    coins = (
        conversion.of_pixels(network, mean, std, augment)
        if head is None
        else conversion.of_features(network, head, mean, std, augment)
    )
    assert coins.ladder is not None
    recipe = {**parts, **normalisation(given.mean, given.std), **coins.ladder.figures()}
    coins.source = card(given.data, seed, epochs, augment, **recipe)
    coins.input_quantizer = given.data.input_quantizer
    for line in coins.ladder.warnings:
        warnings.warn(line, ConversionWarning, stacklevel=2)
    end(kept, checkpoint)
    return coins


@dataclass(frozen=True)
class _Given:
    """Data as they were given, and what the network takes: (x - mean) / std of features x, or of the shares
    of white of pixels."""

    data: Dataset
    mean: float | Sequence[float]
    std: float | Sequence[float]

    def taken(self, rows: NDArray[Any]) -> Tensor:
        """What the network itself takes of rows [N, I] of the data, float64 [N, I]."""
        middle, spread = _for_pixels(self.mean, self.std, self.data)
        unit = self.data.input_max if self.data.input_quantizer is None else 1
        return (torch.from_numpy(rows.astype(np.float64)) / unit - middle) / spread

    def tested(self) -> Iterator[Tensor]:
        """The same of the test part, in blocks."""
        rows = self.data.test_images
        return (self.taken(rows[first : first + TEST_BATCH]) for first in range(0, len(rows), TEST_BATCH))


@dataclass(frozen=True)
class _Conversion:
    """The settings of a conversion. data: ``given``, made pixels if they are features of any range."""

    given: _Given
    data: Dataset
    bits: int
    activation_bits: int
    epochs: int
    seed: int
    progress: Progress | bool | None
    kept: Checkpoint | None
    check_sizes: Callable[[list[int]], None] | None

    def of_pixels(
        self, network: nn.Module, mean: float | Sequence[float], std: float | Sequence[float], augment: bool
    ) -> SynapticNetwork:
        """All layers of the network as coins."""
        data = self.data
        ordinary = Ordinary(network, data.train_images.shape[1:], image_shape(data.shape))
        coins = self._coins(ordinary, data.train_images.shape[1])
        layers = _on_shares(ordinary.layers, data, mean, std)
        given = self.given
        ordinary.check(given.taken(given.data.train_images[:CHECKED]))
        train, test = (
            pixels_to_activations(images, data.input_max, self.activation_bits)
            for images in (data.train_images, data.test_images)
        )
        largest = (1 << self.activation_bits) - 1
        answers = np.concatenate([classes(ordinary.layers, ordinary.ordered(x)) for x in given.tested()])
        coins.ladder = self._fit(coins, layers, train, test, 1 / largest, answers, RATE, augment)
        place = layers[0].place
        middle, _ = _for_pixels(mean, std, data)
        if place is not None and place.pad != (0, 0) and bool((middle != 0).any()):
            warning = (
                f"{layers[0].name} pads normalised images with 0, their mean, and coins pad with black: at "
                "the border they compute something else"
            )
            coins.ladder = replace(coins.ladder, warnings=(warning, *coins.ladder.warnings))
        return coins

    def split(
        self, network: nn.Module, layer: str, mean: float | Sequence[float], std: float | Sequence[float]
    ) -> tuple[nn.Module, nn.Module]:
        """The network as what stays in front and the head."""
        data, shape = self.data, image_shape(self.data.shape)
        given = Trained(network, data.train_images.shape[1:], shape)
        return given.split(layer, self._shares(_some(data.train_images, CHECKED), mean, std).flatten(1))

    def _shares(
        self, images: NDArray[Any], mean: float | Sequence[float], std: float | Sequence[float]
    ) -> Tensor:
        """What a network of pictures takes: (share - mean) / std, float32 [N, C, H, W]."""
        shape = image_shape(self.data.shape)
        shares = torch.from_numpy(images.reshape(-1, *shape)) / self.data.input_max
        return Normalise(1.0, mean, std, shape[0])(shares)

    def of_features(
        self,
        network: nn.Module,
        head: nn.Module | Sequence[int],
        mean: float | Sequence[float],
        std: float | Sequence[float],
        augment: bool,
    ) -> FeatureNetwork:
        """The head's layers as coins, behind a network that stays as it is."""
        data = self.data
        if augment:
            raise SynflipError(
                "augment needs features that are made anew for every image; here they are made once"
            )
        given: Ordinary | None = None
        hidden: list[int] = []
        if isinstance(head, Sequence | np.ndarray) and not isinstance(head, str | bytes):
            hidden = [whole_number(size, f"hidden layer {index}") for index, size in enumerate(head)]
        elif not isinstance(head, nn.Module):
            raise SynflipError(f"the head is {head!r}, neither a Sequential nor the outputs of hidden layers")
        check_hooks()
        shape = image_shape(data.shape)
        largest = (1 << self.activation_bits) - 1
        extractor = nn.Sequential(Normalise(1 / data.input_max, mean, std, shape[0]), copied(network))
        with one_thread():
            maps = _features_shape(extractor, shape) if isinstance(head, nn.Module) else ()
            place: Convolution | None = None  # of the first layer of coins
            if isinstance(head, nn.Module) and maps:
                given = Ordinary(head, (math.prod(maps),), maps)
                place = given.layers[0].place
                if place is not None:
                    height, width, channels = place.input
                    extractor.append(ChannelsLast((channels, height, width)))
            reader = Extractor(export(extractor, shape))
            images = _some(data.train_images).reshape(-1, *shape)
            seen = reader(images)
            step, count = log2_step(seen, self.activation_bits), seen.shape[1]
            found = torch.from_numpy(seen[:CHECKED])
            if place is not None:
                found = channels_first(found, *place.input[:2]).flatten(1)
            if given is not None:
                coins = self._coins(given, count, in_front=True)
                given.check(found)
            else:
                coins = self._untrained([count, *hidden, len(data.classes)])
            _check_features(network, self._shares(images[:CHECKED], mean, std), found)
            both = FeatureNetwork(extractor, coins, shape, data.input_max, step)
            features = Features(reader.sha256, shape, data.input_max, step, reader)
            train = features.rows(data.train_images, count, largest)
            answers = None
            if given:
                raw = np.concatenate([block for _, block in features.blocks(data.test_images, count)])
                test = quantised(raw, step, largest)
                if self.given.data.input_quantizer is not None:  # before they were pixels
                    raw = self._features(extractor[1:], shape)
                answers = classes(given.layers, torch.from_numpy(raw))
            else:
                test = features.rows(data.test_images, count, largest)
        layers = given.layers if given else None
        rate = RATE if given else NEW_RATE
        both.ladder = self._fit(coins, layers, train, test, 2.0**step, answers, rate)
        return both.eval()

    def _features(self, front: nn.Module, shape: tuple[int, int, int]) -> NDArray[np.float64]:
        """Features [N, F] that a network in front of a head makes of the test part as it was given."""
        with evaluating(front):
            parts = [
                front(block.float().view(-1, *shape)).flatten(1)
                for x in self.given.tested()
                for block in x.split(BLOCK)
            ]
        found: NDArray[np.float64] = torch.cat(parts).double().numpy()
        return found

    def _coins(self, ordinary: Ordinary, inputs: int, in_front: bool = False) -> SynapticNetwork:
        """An untrained network of coins of the layers' sizes. in_front: whether an extractor makes its
        inputs, in the order that coins take. Raises SynflipError if they do not fit the data."""
        layers = ordinary.layers
        places = [layer.place for layer in layers if layer.place is not None]
        first = places[0].inputs if places else layers[0].weight.shape[1]
        sizes = [first, *(len(layer.bias) for layer in layers)]
        if sizes[0] != inputs:
            raise SynflipError(f"{layers[0].name} takes {sizes[0]} inputs; {self.data.name} gives {inputs}")
        if sizes[-1] != len(self.data.classes):
            raise SynflipError(
                f"the last Linear gives {ordinary.outputs} logits; {self.data.name} has "
                f"{len(self.data.classes)} classes"
            )
        colours = bool(places) and places[0].input[2] > 1
        return self._untrained(sizes, places, colours and not in_front)

    def _untrained(
        self, sizes: list[int], places: Sequence[Convolution] = (), channels_first: bool = False
    ) -> SynapticNetwork:
        if self.check_sizes is not None:
            if places:
                raise SynflipError(
                    "the network has convolutions, and what fits a board is known of dense layers only: "
                    "leave out --for (check_sizes)"
                )
            self.check_sizes(sizes)
        return SynapticNetwork(
            sizes,
            self.bits,
            self.activation_bits,
            self.seed,
            convolutions=places,
            channels_first=channels_first,
        )

    def _fit(
        self,
        coins: SynapticNetwork,
        layers: Sequence[OrdinaryLayer] | None,
        train: NDArray[np.uint8],
        test: NDArray[np.uint8],
        unit: float,
        answers: NDArray[np.int64] | None,
        rate: float,
        augment: bool = False,
    ) -> Ladder:
        """Set the coins to ordinary layers on inputs rows * unit, fine-tune them, and measure.

        layers: None leaves the coins as they are. train, test: rows [N, I]. answers: the ordinary network's
        classes of the test images, [N].
        """
        data, lines = self.data, []
        converted = None
        with one_thread():
            if layers is not None:
                rows = _some(train)
                count = MEASURED if any(coins.places) else RANGED  # maps are large
                seen = coins.ordered(torch.from_numpy(_some(train, count))).numpy()
                scales = initialise(coins, without_unseen(layers, seen, unit), rows, unit)
                temper(coins, scales.layers, rows, unit, _some(data.train_labels))
                converted = vote_accuracies(coins.eval(), test, data.test_labels, self.seed)[1]
        generator = torch.Generator().manual_seed(self.seed)
        fit_coins(
            coins, data, train, self.epochs, rate, generator, augment, self.progress, checkpoint=self.kept
        )
        one, vote, voted = vote_accuracies(coins, test, data.test_labels, self.seed)
        original = None if answers is None else float((answers == data.test_labels).mean())
        agreement = None if answers is None else float((answers == voted).mean())
        if layers is not None and original is not None and original - vote > LOSS:
            more = "more epochs" if self.epochs else "10 epochs"
            x = coins.ordered(torch.from_numpy(test)).double() * unit
            lines = [
                f"the coins lost accuracy: {original:.1%} of the test images were right, and after "
                f"{self.epochs} epochs of fine-tuning a vote of {VOTES} has {vote:.1%}; take {more}, or more "
                "bits",
                *_outlying(
                    layers, scales, coins.ordered(torch.from_numpy(rows)), _some(data.train_labels), unit
                ),
                *self._coarse(original, accuracy(layers, x, data.test_labels)),
            ]
        return Ladder(original, converted, one, vote, agreement, warnings=tuple(lines))

    def _coarse(self, original: float, stepped: float) -> list[str]:
        """A line if the steps of the inputs alone cost the ordinary network accuracy.

        original, stepped: of it, 0..1, on inputs as they are and in steps.
        """
        if original - stepped <= LOSS:
            return []
        if self.given.data.input_quantizer is not None:
            way = "; if a few values lie far from the others, cut them off by quantiles such as 0.01, 0.99"
        else:
            way = "; take more of them" if self.activation_bits < MAX_ACTIVATION_BITS else ""
        return [
            f"the steps of the inputs cost accuracy: on inputs of {self.activation_bits} bits the ordinary "
            f"network has {stepped:.1%} in place of {original:.1%}{way}"
        ]


def _outlying(
    layers: Sequence[OrdinaryLayer],
    scales: Scales,
    rows: Tensor,
    labels: NDArray[np.integer],
    unit: float,
) -> list[str]:
    """A line for each layer with a weight far larger than the others, and what cutting it off costs.

    layers: as they were given. rows, labels: of training images, in the order of the first layer's inputs.
    """
    lines = []
    x = rows.double() * unit
    before = accuracy(layers, x, labels)
    for index, (given, layer, largest) in enumerate(zip(layers, scales.layers, scales.largest, strict=True)):
        sizes = torch.where(layer.weight != 0, given.weight.abs(), 0.0)
        j, i = divmod(int(sizes.argmax()), sizes.shape[1])
        typical = float(np.quantile(sizes[sizes > 0].numpy(), TYPICAL)) if bool((sizes > 0).any()) else 0.0
        if sizes[j, i] <= OUTLYING * typical:
            continue
        cut = list(scales.layers)
        cut[index] = replace(layer, weight=layer.weight.clamp(-largest, largest))
        kept = min(1.0, largest / float(layer.weight[j, i].abs()))
        weight = float(given.weight[j, i])
        lines.append(
            f"{given.name}: weight[{j}, {i}] is {weight:.4g}; {TYPICAL:.0%} of its "
            f"layer's are below {typical:.3g}. Cut off to {weight * kept:.3g}, it takes the "
            f"ordinary network from {before:.1%} to {accuracy(cut, x, labels):.1%} of the training images: "
            "train on with a smaller one"
        )
    return lines


def accuracy(layers: Sequence[OrdinaryLayer], x: Tensor, labels: NDArray[np.integer]) -> float:
    """Accuracy, 0..1, of ordinary layers on inputs [N, I]."""
    return float((classes(layers, x) == labels).mean())


def classes(layers: Sequence[OrdinaryLayer], x: Tensor) -> NDArray[np.int64]:
    """Classes [N] that ordinary layers give inputs [N, I]."""
    parts = [logits(layers, part.double()).argmax(1) for part in x.split(TEST_BATCH)]
    found: NDArray[np.int64] = torch.cat(parts).numpy()
    return found


def _features_shape(extractor: nn.Module, shape: tuple[int, int, int]) -> tuple[int, ...]:
    """The shape of an image's features; () if the extractor fails, of which its export says why."""
    with evaluating(extractor):
        try:
            return tuple(extractor(torch.zeros(2, *shape)).shape[1:])
        except Exception:  # whatever the module raises
            return ()


def _check_features(network: nn.Module, images: Tensor, found: Tensor) -> None:
    """Raises SynflipError unless features [N, F] are those that the network itself makes of images [N, C, H,
    W]."""
    place = place_of(network, images)
    with evaluating(network):
        try:
            wanted = network(images.to(*place)).detach().cpu().double().flatten(1)
        except Exception as error:  # whatever the module raises
            raise SynflipError(
                f"the {type(network).__name__} does not take {list(images.shape)}: {first_line(error)}"
            ) from None
    if not same(found, wanted, place[1]):
        raise SynflipError(
            f"the features of the {type(network).__name__} are others after export than it makes itself: "
            "remove hooks, pruning and what else changes its weights before a forward pass"
        )


def _for_pixels(
    mean: float | Sequence[float], std: float | Sequence[float], data: Dataset
) -> tuple[Tensor, Tensor]:
    """The mean and standard deviation of each pixel, float64 [I] each. Raises SynflipError."""
    pixels = data.train_images.shape[1]

    def of_pixels(name: str, value: float | Sequence[float]) -> Tensor:
        count = pixels if np.size(value) == pixels else image_shape(data.shape)[0]
        return torch.from_numpy(per_channel(name, value, count)).repeat_interleave(pixels // count)

    return of_pixels("mean", mean), of_pixels("std", std)


def _as_pixels(
    data: Dataset,
    quantizer: InputQuantizer,
    mean: float | Sequence[float],
    std: float | Sequence[float],
    pictures: bool,
) -> tuple[Dataset, list[float], list[float]]:
    """Data of features as data of their pixels, and the mean and standard deviation of the shares.

    A network takes (x - mean) / std of features x = low + share * (high - low). A feature that is constant
    has the share 0. pictures: one number for each channel is wanted. Raises SynflipError.
    """
    low, span = quantizer.low, quantizer.high - quantizer.low
    if pictures and (np.ptp(low) or np.ptp(span)):
        raise SynflipError(
            "a network in front of a head takes pictures; a table's columns have ranges of their own"
        )
    span[span == 0] = 1
    middle, spread = (values.numpy() for values in _for_pixels(mean, std, data))
    step = len(low) // image_shape(data.shape)[0] if pictures else 1
    pixels = replace(
        data, train_images=data.train_pixels, test_images=data.test_pixels, input_quantizer=None
    )  # fmt: skip
    return pixels, ((middle - low) / span)[::step].tolist(), (spread / span)[::step].tolist()


def _on_shares(
    layers: Sequence[OrdinaryLayer],
    data: Dataset,
    mean: float | Sequence[float],
    std: float | Sequence[float],
) -> list[OrdinaryLayer]:
    """The layers with normalisation folded into the first: for shares, pixels / input_max, as they are."""
    middle, spread = _for_pixels(mean, std, data)
    first = layers[0]
    if first.place is not None:
        channels = first.place.input[2]
        middle, spread = (
            _of_channels(name, value, channels) for name, value in (("mean", middle), ("std", spread))
        )
        taps = first.weight.shape[1] // channels
        middle, spread = middle.repeat(taps), spread.repeat(taps)
    weight = first.weight / spread
    return [replace(first, weight=weight, bias=first.bias - weight @ middle), *layers[1:]]


def _of_channels(name: str, values: Tensor, channels: int) -> Tensor:
    """``values``, one for each pixel in the order c, y, x, as one for each channel. Raises SynflipError."""
    rows = values.view(channels, -1)
    if not bool((rows == rows[:, :1]).all()):
        raise SynflipError(f"{name} differs between pixels of a channel, which a convolution cannot take")
    return rows[:, 0]


def _some(rows: NDArray[Any], count: int = MEASURED) -> NDArray[Any]:
    """At most ``count`` of the rows, spread over all of them."""
    return rows[:: -(-len(rows) // count)]
