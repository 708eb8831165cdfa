"""The energy above which an image is taken for foreign: of none of the classes."""

import os
from dataclasses import replace

import numpy as np

from synflip.data.dataset import Dataset, require_dataset
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.inference.device import model_of
from synflip.inference.request import Progress, whole_samples
from synflip.spec.model import CompiledModel

FALSE_ALARMS = 0.01  # share of training images that are called foreign
SAMPLES = 16
IMAGES = 2000  # training images that are looked at: 20 of them are above the threshold


def fit_energy_threshold(
    model: CompiledModel | str | os.PathLike[str],
    dataset: Dataset,
    false_alarms: float = FALSE_ALARMS,
    samples: int = SAMPLES,
    progress: Progress | bool | None = None,
) -> CompiledModel:
    """The ``model`` with an energy in its source, above which is at most a share ``false_alarms`` of training
    images.

    model: compiled, or the path of its file. dataset: the model's; at most IMAGES training images are taken,
    from the first to the last at equal steps. false_alarms: above 0, below 1. samples: network samples of
    each image, of seed 0. progress: True shows a bar; or a function that is called with (done, total), in
    network samples times images. The source gets ``energy_threshold`` in nats, ``false_alarms`` and
    ``energy_samples``. ``Result.foreign`` compares energies with the threshold, in a Result with logits.

    Images that the model was not trained on exceed it more often: ``synflip evaluate`` counts test images.
    Raises SynflipError, among others for a model whose file lacks the scale of its logits.
    """
    require_dataset(dataset)
    model, samples = model_of(model), whole_samples(samples)
    if not isinstance(false_alarms, float | np.floating) or not 0 < false_alarms < 1:
        raise SynflipError(
            f"false_alarms is a share above 0 and below 1, such as 0.01, not {false_alarms!r:.60}"
        )
    count = len(dataset.train_images)
    chosen = np.linspace(0, count - 1, min(count, IMAGES)).astype(np.int64)
    with Golden(predict=False) as golden:
        golden.load(model)
        images = dataset.for_model(dataset.train_images[chosen], model)
        energies = golden.infer(images, samples, 0, logits=True, progress=progress).energy
    found = {
        "energy_threshold": float(np.sort(energies)[-1 - int(false_alarms * len(energies))]),
        "false_alarms": float(false_alarms),
        "energy_samples": samples,
    }
    return replace(model, source={**model.source, **found})
