"""Training of networks of coins."""

import math
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, log_softmax, nll_loss, softmax

from synflip.data.dataset import Dataset
from synflip.errors import SynflipError
from synflip.spec.model import pixels_to_activations
from synflip.training.card import card
from synflip.training.checkpoint import Checkpoint, checkpoint_of, digest_of, end
from synflip.training.feature_network import FeatureNetwork
from synflip.training.layers import SynapticNetwork, check_bits
from synflip.training.loop import FLOAT_RATE, Progress, checked_epochs, fit, layer_sizes
from synflip.training.shapes import Filters, checked_filters, convolutions, flat
from synflip.util.arrays import flag, list_of, training_seed, whole_number
from synflip.util.text import first_line, one_line

RATE = 0.03  # the highest learning rate of coins
FROZEN = 0.1  # share of the steps after which shifts stay: later each change would double or halve a layer
KERNEL_RATE = 3  # times as high that of convolutions, whose few coins have to become sure


def train(
    dataset: Dataset,
    hidden: Sequence[int] = (512, 512),
    bits: int = 4,
    activation_bits: int = 8,
    epochs: int | None = None,
    seed: int = 0,
    augment: bool = False,
    progress: Progress | bool | None = None,
    mean_of: int = 1,
    signed: bool = True,
    teachers: Sequence[nn.Module] = (),
    checkpoint: str | Path | Checkpoint | None = None,
    resume: bool = False,
    filters: Filters = (),
    noise: float | None = None,
) -> SynapticNetwork:
    """Train a network of coins with Adam and a one-cycle rate; in evaluation mode when it is returned.

    dataset: training images [N, I] and labels [N]. hidden: outputs of the hidden layers, each 1..1024.
    filters: of convolutions in front of them, whose weights are coins too: (32,) is one convolution of 32
    filters of 3x3, with a border of zeros, and the maximum of 2x2 behind it; ((32, 32), 64) is three, with a
    maximum behind the second and one behind the third. bits: k, 1..16.
    activation_bits: A, 1..8. epochs: passes over the images; None takes 15, or 40 of less than 10,000 images.
    seed: of the weights, the noise and the order of the images. augment: move each image by up to a pixel, or
    in colour by up to four and mirror half of them. progress: True shows a bar; or a function that is called
    after every step with a TrainStep: step, epoch, loss in nats, rate. mean_of: what is made likely is the
    mean of this many sampled softmaxes. teachers: ordinary networks, whose mean softmax is learnt in place of
    the labels. signed: whether weights are in [-1, 1] or in [0, 1]. noise: share in 0..1 of the coins'
    standard deviation that training has, in all layers; None takes ``layers.NOISE`` in dense ones and
    ``layers.KERNEL_NOISE`` in convolutions. The same seed gives the same network on the same kind of machine.

    checkpoint: a file, ``m.checkpoint.safetensors``, for what Ctrl-C or SIGTERM would lose: the training ends
    its step, writes the file and raises ``Interrupted``, a KeyboardInterrupt. resume: go on from that file,
    to the same network as without the stop. The file is removed when the network is returned; that of a
    ``Checkpoint`` is there until its ``done``.
    Raises SynflipError for sizes that no accelerator runs, for a checkpoint that is there without ``resume``,
    and for one of another training.
    """
    kept = checkpoint_of(checkpoint, resume)
    epochs = checked_epochs(dataset, epochs)
    bits, activation_bits = check_bits(bits, activation_bits)
    seed, mean_of = training_seed(seed), whole_number(mean_of, "mean_of")
    augment, signed = flag(augment, "augment"), flag(signed, "signed")
    filters = checked_filters(filters)
    noise = None if noise is None else _checked_noise(noise)
    _check_teachers(teachers, dataset)
    inputs, *others = layer_sizes(dataset, hidden)
    places = convolutions(dataset, filters) if filters else []
    network = SynapticNetwork(
        [inputs, *flat(filters), *others], bits, activation_bits, seed, signed, places,
        channels_first=bool(places) and len(dataset.shape) == 3,
    )  # fmt: skip
    if noise is not None:
        for layer in network.linear:
            layer.noise = noise
    generator = torch.Generator().manual_seed(seed)

    images = pixels_to_activations(dataset.train_pixels, dataset.input_max, activation_bits)
    fit_coins(network, dataset, images, epochs, RATE, generator, augment, progress, mean_of, teachers, kept)
    describe(network, dataset, seed, epochs, augment, mean_of, len(teachers), signed, noise)
    end(kept, checkpoint)
    return network


def _checked_noise(noise: Any) -> float:
    if isinstance(noise, bool) or not isinstance(noise, Real) or not 0 <= float(noise) <= 1:
        raise SynflipError(f"noise must be a number in 0..1, not {noise!r}; 1 is all of the coins' noise")
    return float(noise)


def _check_teachers(teachers: Sequence[nn.Module], dataset: Dataset) -> None:
    """Raises SynflipError unless each of ``teachers`` gives logits for images of the data set."""
    if isinstance(teachers, nn.Module) or not isinstance(teachers, Sequence):
        raise SynflipError(f"teachers must be a list of networks, not a {type(teachers).__name__}")
    images = torch.from_numpy(dataset.train_pixels[:2]).float() / dataset.input_max
    wanted = (len(images), len(dataset.classes))
    for index, teacher in enumerate(teachers):
        if not isinstance(teacher, nn.Module):
            raise SynflipError(f"teachers[{index}] is a {type(teacher).__name__}, not a network")
        try:
            with torch.no_grad():
                found = tuple(teacher(images).shape)
        except Exception as error:  # a network of somebody else's may raise anything
            raise SynflipError(
                f"teachers[{index}] takes no images {list_of(images.shape)}: {one_line(first_line(error))}"
            ) from None
        if found != wanted:
            raise SynflipError(f"teachers[{index}] gives {list_of(found)}, not logits {list_of(wanted)}")


def describe(
    network: SynapticNetwork | FeatureNetwork,
    dataset: Dataset,
    seed: int,
    epochs: int,
    augment: bool,
    mean_of: int,
    teachers: int,
    signed: bool = True,
    noise: float | None = None,
) -> None:
    """Put the card of a training on the network, and the input quantizer of its data. teachers: how many."""
    recipe: dict[str, Any] = {"mean_of": mean_of} if mean_of > 1 else {}
    recipe |= {"teachers": teachers} if teachers else {}
    recipe |= {} if signed else {"signed": False}
    recipe |= {} if noise is None else {"noise": noise}
    network.source = card(dataset, seed, epochs, augment, **recipe)
    network.input_quantizer = dataset.input_quantizer


def fit_coins(
    network: SynapticNetwork | FeatureNetwork,
    dataset: Dataset,
    images: NDArray[np.uint8],
    epochs: int,
    rate: float,
    generator: torch.Generator,
    augment: bool = False,
    progress: Progress | bool | None = None,
    mean_of: int = 1,
    teachers: Sequence[nn.Module] = (),
    checkpoint: Checkpoint | None = None,
) -> None:
    """Train a network in place, on ``images`` [N, I] in place of the training images; leaves it in evaluation
    mode. rate: the highest of the coins; an extractor of features has FLOAT_RATE.

    mean_of: what is made likely is the mean of this many sampled softmaxes: 1 makes each sample right, more
    let samples differ where they are not sure. (As importance-weighted bounds do: Burda, Grosse,
    Salakhutdinov, ICLR 2016, arXiv 1509.00519.) teachers: ordinary networks as ``float_accuracy`` takes them;
    the mean of their softmaxes is learnt in place of the labels, see ``distillation``.
    checkpoint: see ``loop.fit``. Raises SynflipError.
    """
    if mean_of < 1:
        raise SynflipError(f"mean_of must be at least 1, not {mean_of}")
    if isinstance(network, SynapticNetwork):
        kernels = {layer.weight for layer in network.linear if layer.place is not None}
        groups = [([each for each in network.parameters() if each not in kernels], rate)]
        if kernels:
            groups.append(([each for each in network.parameters() if each in kernels], KERNEL_RATE * rate))
        largest = (1 << network.activation_bits) - 1
    else:
        groups = [(list(network.head.parameters()), rate), (list(network.extractor.parameters()), FLOAT_RATE)]
        largest = dataset.input_max

    def loss(x: Tensor, labels: Tensor) -> Tensor:
        logits = network(x, generator, mean_of) / network.temperature
        if mean_of == 1 and not teachers:
            return cross_entropy(logits, labels)
        shares = log_softmax(logits, 1).view(mean_of, len(x), -1).logsumexp(0) - math.log(mean_of)
        if not teachers:
            return nll_loss(shares, labels)
        with torch.no_grad():
            taught = torch.stack([softmax(teacher(x / largest), 1) for teacher in teachers]).mean(0)
        return -(taught * shares).sum(1).mean()

    coins = network if isinstance(network, SynapticNetwork) else network.head
    recipe = {
        "bits": coins.bits,
        "activation_bits": coins.activation_bits,
        "signed": coins.linear[0].lowest < 0,
        "mean_of": mean_of,
        "teachers": digest_of(teachers),
        "pixels": [dataset.input_max, *dataset.shape],
    }
    if isinstance(network, FeatureNetwork):
        recipe["log2_step"] = network.log2_step
    if any(coins.places):
        recipe["convolutions"] = [str(place) for place in coins.places]
    recipe["noise"] = [layer.noise for layer in coins.linear]  # last: other layers are not called other noise

    def settle(share: float) -> None:
        if share >= FROZEN:
            coins.freeze_shifts()

    network.train()
    fit(
        groups, loss, dataset, images, epochs, generator, augment, progress, settle, network.clamp,
        list(coins.buffers()), checkpoint, recipe,
    )  # fmt: skip
    network.eval()
