"""What the page says beside votes: of the model, of a test set, of the accelerators."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from synflip.data.dataset import Dataset
from synflip.errors import SynflipError
from synflip.evaluation.vote_figure import chosen
from synflip.golden.cpu import Golden
from synflip.inference.device import Device
from synflip.inference.parts import Parts, runs_of
from synflip.inference.request import InferenceRequest
from synflip.serve.answer import coin_window
from synflip.serve.inputs import MOST_SAMPLES, Picture, row_text
from synflip.spec.model import CompiledModel

TEST_IMAGES, TEST_SAMPLES = 500, 16  # that are looked at for the most and the least certain ones
FEW_IMAGES = 100  # of a network with convolutions, which takes longer
SHOWN = 10  # of each kind
#: What each size of a geometry is, in the order in which they are shown.
SIZES = {
    "lanes": "lanes: outputs at once",
    "banks": "banks: rows at once",
    "bits": "bits of a coin's probability",
    "activation_bits": "bits of an activation",
    "weight_depth": "weight entries of a bank",
    "event_depth": "events of a bank",
    "key_depth": "keys of a bank",
    "key_halves": "halves of the key memory",
    "bias_depth": "groups of biases",
    "image_slots": "images of a batch",
    "flight": "passes of a network sample in flight",
    "result_depth": "results: images times classes",
    "log_depth": "logits kept of a run",
    "margin_depth": "samples of a run that can stop early",
    "layer_depth": "layers",
    "soft_classes": "classes of soft votes (0: the host makes them)",
    "map_depth": "events of a bank of a convolution's map (0: in parts)",
    "sample_bits": "bits of the number of samples",
    "devices": "tunnel junctions (0: an LFSR makes the keys)",
}
BATCHES = ((1, 1), (1, 16), (16, 16), (16, 64))  # images and samples whose cycles are said


@dataclass(frozen=True, eq=False)
class TestSet:
    """Images to try. data: of the model's kind; None, and ``why`` says why there are none."""

    __test__ = False  # pytest takes no class of this name for tests

    data: Dataset | None
    why: str = ""

    def picture(self, model: CompiledModel) -> Picture | None:
        """How an image of the model is shown; None if it takes rows."""
        return Picture.of(model, None if self.data is None else self.data.shape)

    def item(self, number: int, model: CompiledModel) -> dict[str, Any]:
        """Image ``number``, modulo their count, in the form that a request has it in, and its class. Raises
        SynflipError if there are none."""
        if self.data is None:
            raise SynflipError(self.why)
        number %= len(self.data.test_images)
        image = self.data.for_model(self.data.test_images[number : number + 1], model)[0]
        found: dict[str, Any] = {"number": number, "label": int(self.data.test_labels[number])}
        if self.picture(model) is None:
            return found | {"row": row_text(image, model)}
        return found | {"pixels": image.tolist()}


def about_model(name: str, model: CompiledModel, tests: TestSet) -> dict[str, Any]:
    """The model and its inputs. name: of its file."""
    picture = tests.picture(model)
    quantizer = model.input_quantizer
    return {
        "name": name,
        "network": model.shape,
        "coins": sum(layer.q.size for layer in model.layers),
        "bits": model.bits,
        "classes": list(model.classes),
        "data": str(model.source.get("data", "")),
        "most_samples": MOST_SAMPLES,
        "scores": model.logit_scale is not None,
        "energy_threshold": model.energy_threshold,
        "picture": None
        if picture is None
        else {item.name: getattr(picture, item.name) for item in fields(picture)},
        "inputs": model.inputs if model.features is None else model.features.pixels,
        "columns": []
        if quantizer is None
        else [[column.name, *column.categories] for column in quantizer.columns],
        "layers": [
            {
                "shape": f"{layer.outputs} outputs of {layer.q.shape[1]} coins each",
                **coin_window(model, index, picture),
            }
            for index, layer in enumerate(model.layers)
        ],
        "tests": 0 if tests.data is None else len(tests.data.test_images),
        "why_no_tests": tests.why,
    }


def certainty(tests: TestSet, model: CompiledModel, golden: Golden) -> dict[str, Any]:
    """The test images with the most and the least certain votes, and those. Raises SynflipError."""
    if tests.data is None:
        raise SynflipError(tests.why)
    count = FEW_IMAGES if model.convolutional else TEST_IMAGES
    images = tests.data.for_model(tests.data.test_images[:count], model)
    result = golden.infer(images, TEST_SAMPLES, 0, logits=True)
    right = result.winner == tests.data.test_labels[: len(images)]

    def shown(numbers: list[int]) -> list[dict[str, Any]]:
        return [
            {
                **tests.item(number, model),
                "winner": int(result.winner[number]),
                "votes": result.votes[number].tolist(),
                "entropy": float(result.entropy[number]),
            }
            for number in numbers
        ]

    most, least = chosen(result, SHOWN)
    return {
        "images": len(images),
        "samples": TEST_SAMPLES,
        "right": int(right.sum()),
        "most": shown(most),
        "least": shown(least),
    }


def about_device(name: str, device: Device, tests: TestSet, model: CompiledModel) -> dict[str, Any]:
    """An accelerator's sizes, and the cycles that the golden model predicts for it: of test images, or of
    blank ones if there are none. Cycles are None where they are not predicted."""
    geometry = device.geometry
    wanted = max(images for images, _ in BATCHES)
    if tests.data is None:
        pixels = np.zeros((1, model.inputs if model.features is None else model.features.pixels), np.uint8)
    else:
        pixels = tests.data.for_model(tests.data.test_images[:wanted], model)
    pixels = np.resize(pixels, (wanted, pixels.shape[1]))
    with Golden(geometry) as golden:
        golden.load(model)
        rows = []
        for images, samples in BATCHES[:2] if model.convolutional else BATCHES:
            cycles = golden.infer(pixels[:images], samples, 0).cycles
            rows.append({"images": images, "samples": samples, "cycles": cycles if cycles >= 0 else None})
    try:
        runs = runs_of(InferenceRequest(model, pixels[:1], 1, 0), geometry)
        fits = "in parts, one after the other" if isinstance(runs, Parts) else "as a whole"
    except SynflipError as error:
        fits = f"not: {error}"
    return {
        "name": name,
        "geometry": geometry.name,
        "fits": fits,
        "coins_a_cycle": geometry.lanes * geometry.banks,
        "sizes": [[words, getattr(geometry, name)] for name, words in SIZES.items()],
        "cycles": rows,
    }
