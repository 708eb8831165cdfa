"""How an inference is cut into runs of the accelerator: batches of images, and chunks of network samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from synflip.errors import SynflipError
from synflip.inference.request import InferenceRequest
from synflip.spec.geometry import Geometry
from synflip.spec.maps import image_shift, shortage_of_maps
from synflip.spec.memory_map import soft_depth
from synflip.spec.model import CompiledModel
from synflip.spec.sizes import SOFT_ENTRIES, SOFT_FRACTION, SOFT_POINT, ceil_div, key_offsets, log2_ceil


class RunLimit(SynflipError):
    """A network fits, and the memories of a run do not keep what a request needs; in parts the host does."""


def fits(model: CompiledModel, geometry: Geometry) -> bool:
    """Whether an accelerator can hold the whole model at once. The words' sizes are not looked at."""
    return not _missing(model, geometry)


def _missing(model: CompiledModel, geometry: Geometry) -> str:
    """What the model needs and the accelerator lacks; empty if it fits."""
    if model.convolutional and (missing := shortage_of_maps(model, geometry)):
        return missing
    return _shortage(model.rows, model.outputs, image_shift(model, geometry), geometry)


def check_fit(model: CompiledModel, geometry: Geometry) -> None:
    """Raises SynflipError, saying how much is needed and how much there is, if the accelerator cannot hold
    the whole model at once."""
    check_words(model.bits, model.activation_bits, geometry)
    if missing := _missing(model, geometry):
        raise SynflipError(
            f"the model ({model.shape}) does not fit the {geometry.name} accelerator: it needs {missing}"
        )


def check_words(bits: int, activation_bits: int, geometry: Geometry) -> None:
    """Raises SynflipError, with the option to change, if k or A is more than the accelerator's."""
    if bits > geometry.bits:
        raise SynflipError(
            f"the model has {bits}-bit probability words, the accelerator {geometry.bits}: "
            f"train or convert it with --bits {geometry.bits}"
        )
    if activation_bits > geometry.activation_bits:
        raise SynflipError(
            f"the model has {activation_bits}-bit activations, the accelerator {geometry.activation_bits}: "
            f"train or convert it with --activation-bits {geometry.activation_bits}"
        )


def shortage(sizes: Sequence[int], geometry: Geometry) -> str:
    """What a network needs and an accelerator lacks: ``3 layers, there are 2``; empty if it fits.

    sizes: inputs, outputs of each hidden layer, classes: (64, 128, 10).
    """
    return _shortage(sizes[:-1], sizes[1:], input_shift(sizes[0], geometry), geometry)


def _shortage(rows: Sequence[int], outputs: Sequence[int], shift: int, geometry: Geometry) -> str:
    """``shortage`` of layers of these rows and outputs, and of images that take 2**shift places of a
    bank."""
    banks, lanes = geometry.banks, geometry.lanes
    offsets, total = key_offsets(rows)
    ends = [*offsets[1:], total]
    tiles = [ceil_div(count, lanes) for count in outputs]
    weights = sum(
        count * (end - start) // banks for count, start, end in zip(tiles, offsets, ends, strict=True)
    )
    for what, needed, there in (
        ("layers", len(outputs), geometry.layer_depth),
        ("weight entries a bank", weights, geometry.weight_depth),
        ("keys a bank", total // banks, geometry.key_depth),
        ("bias groups", sum(tiles) * lanes // banks, geometry.bias_depth),
        ("events a bank for one image", 1 << shift, geometry.event_depth),
        ("results for one image", 1 << class_shift(outputs[-1]), geometry.result_depth),
    ):
        if needed > there:
            return f"{needed} {what}, there are {there}"
    return ""


def largest_hidden(inputs: int, classes: int, geometry: Geometry) -> list[int] | None:
    """The hidden layers, equal and of at most 512 outputs, with which most synapses fit an accelerator.

    Sizes are multiples of 16, and there are at most two layers: [512, 512] on a large one, [96] where two
    layers are all. None if even a network without hidden layers does not fit.
    """
    found: tuple[int, list[int]] | None = None
    for count in range(3):
        for size in range(512, 0, -16):
            hidden = [size] * count
            sizes = [inputs, *hidden, classes]
            if not shortage(sizes, geometry):
                synapses = sum(a * b for a, b in pairwise(sizes))
                if found is None or synapses > found[0]:
                    found = synapses, hidden
                break
    return None if found is None else found[1]


def input_shift(inputs: int, geometry: Geometry) -> int:
    """log2 of the events that a bank's list of one image of ``inputs`` activations may hold."""
    return log2_ceil(ceil_div(inputs, geometry.banks))


def class_shift(classes: int) -> int:
    """log2 of the results that one image takes."""
    return log2_ceil(classes)


def most_images(model: CompiledModel, geometry: Geometry) -> int:
    """Images that there is room for at once."""
    return min(
        geometry.image_slots,
        geometry.event_depth >> image_shift(model, geometry),
        geometry.result_depth >> class_shift(len(model.classes)),
    )


@dataclass(frozen=True)
class Plan:
    """images: largest batch of a run. samples: most network samples of a run. Runs go batch by batch, chunk
    by chunk.

    sides: 2 if batches take turns between two halves of the image slots, so that one is loaded and read while
        the other runs; else 1.
    """

    images: int
    samples: int
    sides: int = 1

    def batches(self, count: int) -> Sequence[tuple[int, int]]:
        """(first, past the last) image of each batch of ``count`` images."""
        return [(first, min(first + self.images, count)) for first in range(0, count, self.images)]

    def slot(self, batch: int) -> int:
        """Slot of the first image of the ``batch``-th batch."""
        return batch % self.sides * self.images

    def chunks(self, samples: int) -> Sequence[tuple[int, int]]:
        """(first, past the last) network sample of each chunk."""
        return [(first, min(first + self.samples, samples)) for first in range(0, samples, self.samples)]


def plan(
    model: CompiledModel,
    geometry: Geometry,
    count: int,
    samples: int,
    early: bool,
    logits: bool,
    keep_keys: bool = False,
) -> Plan:
    """The runs for ``count`` images that the accelerator's memories allow. Raises SynflipError if there are
    none; as RunLimit, if there are some in parts."""
    check_fit(model, geometry)
    slots = most_images(model, geometry)
    images = slots if count <= slots or keep_keys else max(slots // 2, 1)
    # The key memory holds as many samples as it has halves.
    chunk = min(samples, geometry.key_halves if keep_keys else (1 << geometry.sample_bits) - 1)
    if logits:
        if geometry.log_depth < len(model.classes):
            raise RunLimit(f"{len(model.classes)} logits a sample; the log holds {geometry.log_depth}")
        chunk = min(chunk, geometry.log_depth // len(model.classes))
        images = min(images, geometry.log_depth // (chunk * len(model.classes)))
    if early:
        chunk = min(chunk, geometry.margin_depth)
    if early and chunk < samples:
        raise RunLimit(
            f"early stopping needs all {samples} samples in one run; "
            f"this accelerator's memories allow {chunk}"
        )
    if keep_keys and count > images:
        raise SynflipError(f"keys can be kept for one batch: {images} images of this model, not {count}")
    return Plan(images, chunk, sides=2 if images < count and 2 * images <= slots else 1)


def soft_on_chip(request: InferenceRequest, geometry: Geometry) -> bool:
    """Whether an accelerator adds up the soft votes that a request asks for: it was built to, and has room
    for these tables and classes."""
    tables = request.tables
    return (
        tables is not None
        and len(request.model.classes) <= geometry.soft_classes
        and len(tables.exponential) <= SOFT_ENTRIES
        and tables.fraction <= SOFT_FRACTION
        and tables.fraction - tables.precision == SOFT_POINT
        and len(tables.logarithm) <= soft_depth(geometry)
    )


def logged(request: InferenceRequest, geometry: Geometry) -> bool:
    """Whether the runs of a request log their logits: they are asked for, or the host makes soft votes of
    them."""
    on_host = request.tables is not None and not soft_on_chip(request, geometry)
    return request.logits or on_host


def plan_of(request: InferenceRequest, geometry: Geometry) -> Plan:
    """The runs of a request on an accelerator of ``geometry``. Raises SynflipError as ``plan`` does."""
    return plan(
        request.model, geometry, len(request.pixels), request.samples, request.early,
        logged(request, geometry),
        request.keep_keys,
    )  # fmt: skip
