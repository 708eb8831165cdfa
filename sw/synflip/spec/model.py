"""The compiled model: integers only, and the proof that they can be run exactly.

File layout (docs/reference/contract.md): a safetensors file with tensors ``l0.q``, ``l0.sign``, ``l0.bias``,
``l1.q``, ... and one metadata entry ``synflip``, JSON. This module turns tensors and metadata into a checked
``CompiledModel`` and back; ``synflip.modelfile`` reads and writes the file itself.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from synflip.errors import SynflipError
from synflip.spec.convolution import KIND as CONVOLUTION
from synflip.spec.convolution import Convolution
from synflip.spec.features import Features
from synflip.spec.input_quantizer import HIGH, LOW, InputQuantizer
from synflip.spec.sizes import (
    ACCUMULATOR_BITS,
    LOGIT_BITS,
    MAX_ACTIVATION_BITS,
    MAX_BITS,
    MAX_LAYERS,
    MAX_LAYERS_VERSION_1,
    MAX_OUTPUTS,
    MAX_SHIFT,
)

#: What files say. Version 2 has ``layers``; a model that needs none of it is written as version 1.
VERSIONS = (1, 2)
DENSE = "dense"
METADATA_KEY = "synflip"
#: What ``input.order`` of a file says of images; the second where it is missing.
ORDERS = (CHANNELS_FIRST, CHANNELS_LAST) = ("cyx", "yxc")
_NO_IMAGES = "`order` of the input is {!r}, and there is no convolution that takes its images"
IMAGES_AT_ONCE = 16384  # at most; with IMAGE_BYTES it bounds the memory that looking at images takes
IMAGE_BYTES = 1 << 26


class Images(Protocol):
    """Integer images [N, I]: an array, or an object such as ``ImageFile`` that reads them block by block."""

    @property
    def shape(self) -> tuple[int, ...]:
        """N, I."""
        ...

    @property
    def ndim(self) -> int:
        """2."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of a pixel."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> NDArray[Any]: ...


@dataclass(frozen=True, eq=False, repr=False)
class Layer:
    """One layer: ``q`` uint16 [J, I] probability words, ``sign`` uint8 [J, I] (1 = negative), ``bias`` int32
    [J].

    convolution: where these [J, I] go as kernels; None of a dense layer.
    """

    q: NDArray[np.uint16]
    sign: NDArray[np.uint8]
    bias: NDArray[np.int32]
    convolution: Convolution | None = None

    def __repr__(self) -> str:
        return f"Layer of {self.rows} inputs, {self.outputs} outputs"

    @property
    def outputs(self) -> int:
        """J, the outputs; of a convolution at each position."""
        return self.q.shape[0]

    @property
    def rows(self) -> int:
        """I, the rows of coins, before padding; of a convolution those of a kernel."""
        return self.q.shape[1]

    @property
    def inputs(self) -> int:
        """The activations of an image that enter: I, or H * W * C of a convolution."""
        return self.rows if self.convolution is None else self.convolution.inputs

    @property
    def width(self) -> int:
        """The activations of an image that leave: J, or J at each place of a convolution's pooled map."""
        return self.outputs if self.convolution is None else self.outputs * math.prod(self.convolution.output)

    def metadata(self) -> dict[str, Any]:
        """An object of ``layers`` in the model file's metadata."""
        return {"kind": DENSE} if self.convolution is None else self.convolution.metadata()


@dataclass(frozen=True, eq=False, repr=False)
class CompiledModel:
    """A network that the contract can run exactly. Checked when it is made; raises SynflipError otherwise.

    bits: k, 1..16. activation_bits: A, 1..8. shifts: r of each hidden layer. classes: a name for each logit.
    input_max: the pixel value that becomes the largest activation, 2**A - 1. source: where the
        network came from, JSON values. features: the extractor that makes the first layer's rows of pixels;
        None if the pixels themselves are the rows. input_quantizer: what makes the pixels of features of any
        range; None if the model takes pixels. channels_first: whether an image, a flat row of pixels, is in
        the order c, y, x, as a Dataset in colour has it, and not y, x, c, as the convolution that begins the
        model takes it.
    """

    layers: tuple[Layer, ...]
    bits: int
    activation_bits: int
    shifts: tuple[int, ...]
    classes: tuple[str, ...]
    input_max: int
    source: Mapping[str, Any] = field(default_factory=dict)
    features: Features | None = None
    input_quantizer: InputQuantizer | None = None
    channels_first: bool = False

    def __post_init__(self) -> None:
        check(self)

    def __repr__(self) -> str:
        names = ", ".join(name[:20] for name in self.classes[:10]) + ", ..." * (len(self.classes) > 10)
        further = "" if self.features is None else f", features of images {list(self.features.shape)}"
        further += "" if self.input_quantizer is None else ", made of features of any range"
        count = sum(layer.q.size for layer in self.layers)
        return (
            f"CompiledModel {self.shape}, {count:,} synapses, k = {self.bits}, A = {self.activation_bits}\n"
            f"  pixels 0..{self.pixel_max}{further}\n"
            f"  {len(self.classes)} classes: {names}"
        )

    @property
    def activation_max(self) -> int:
        """2**A - 1."""
        return (1 << self.activation_bits) - 1

    @property
    def pixel_max(self) -> int:
        """The largest pixel of an image."""
        return self.input_max if self.features is None else self.features.input_max

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows of coins of each layer."""
        return tuple(layer.rows for layer in self.layers)

    @property
    def outputs(self) -> tuple[int, ...]:
        """Outputs of each layer."""
        return tuple(layer.outputs for layer in self.layers)

    @property
    def shape(self) -> str:
        """For people: ``784-512-512-10``, or ``28x28x1-32(3x3, pool 2x2)-100-10``."""
        first = self.layers[0].convolution
        sizes = [str(self.inputs) if first is None else "x".join(map(str, first.input))]
        for layer in self.layers:
            sizes.append(
                str(layer.outputs) if layer.convolution is None else f"{layer.outputs}({layer.convolution})"
            )
        return "-".join(sizes)

    @property
    def inputs(self) -> int:
        """Activations of one image: the width of the images, unless an extractor makes them."""
        return self.layers[0].inputs

    @property
    def image_shape(self) -> tuple[int, ...] | None:
        """The shape of an image whose pixels are in the order of its flat row: [C, H, W] where
        ``channels_first``, else [H, W, C], and [H, W] of one channel. None if the model does not say it."""
        if self.features is not None:
            return self.features.shape
        first = self.layers[0].convolution
        if first is None:
            return None
        height, width, channels = first.input
        if channels == 1:
            return height, width
        return (channels, height, width) if self.channels_first else first.input

    @property
    def convolutional(self) -> bool:
        """Whether a layer is a convolution."""
        return any(layer.convolution is not None for layer in self.layers)

    @property
    def version(self) -> int:
        """Of the model file: the least one that has what this model needs."""
        return 2 if self.convolutional or len(self.layers) > MAX_LAYERS_VERSION_1 else 1

    @property
    def logit_scale(self) -> float | None:
        """What the logits are divided by in a softmax; None if the model's source does not say."""
        scale = self._source_number("logit_scale")
        return scale if scale is not None and scale > 0 else None

    @property
    def energy_threshold(self) -> float | None:
        """Energy, in nats, above which an image is taken for foreign; None if the model's source does not
        say."""
        return self._source_number("energy_threshold")

    def _source_number(self, name: str) -> float | None:
        """A number of the source; None if there is none of this name. Sources are not trusted."""
        number = self.source.get(name)
        if isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number):
            return float(number)
        return None

    def check_images(self, pixels: Images) -> None:
        """Raises SynflipError unless ``pixels`` are images of this model; they are read block by block."""
        _, largest = self._images_of(pixels)
        block = images_at_once(pixels.shape[1])
        for first in range(0, len(pixels), block):
            _check_pixels(pixels[first : first + block], largest, first)

    def activations(self, pixels: NDArray[np.integer]) -> NDArray[np.uint8]:
        """``pixels`` [N, I] in 0..input_max to activations uint8 [N, I] in 0..2**A-1: pixel * (2**A-1) /
        input_max, rounded.

        A model of features makes them of pixels first; rows as wide as its first layer, not as its images,
        are taken for features. Where ``channels_first``, pixels are in the order c, y, x; the activations
        are always in the order y, x, c. Raises SynflipError.
        """
        features, largest = self._images_of(pixels)
        _check_pixels(pixels, largest)
        if features is not None:
            return features.rows(pixels, self.inputs, self.activation_max)
        activations, first = _scaled(pixels, self.input_max, self.activation_bits), self.layers[0].convolution
        if first is not None and self.channels_first:
            return channels_last(activations, first.input)
        return activations

    def _images_of(self, pixels: Images) -> tuple[Features | None, int]:
        """The extractor for these images (None if they are the first layer's rows already), and the largest
        value that they may hold."""
        rows, features = self.inputs, self.features
        if not isinstance(getattr(pixels, "dtype", None), np.dtype):
            raise SynflipError(f"images are a {type(pixels).__name__}; they are an array of integers")
        if not np.issubdtype(pixels.dtype, np.integer):
            raise SynflipError(f"images are {pixels.dtype}; pixels are integers (uint8)")
        if features is not None and pixels.ndim == 2 and pixels.shape[1] == features.pixels:
            return features, features.input_max
        if pixels.ndim != 2 or pixels.shape[1] != rows:
            wanted = (
                f"[N, {rows}]" if features is None else f"[N, {features.pixels}], or features [N, {rows}]"
            )
            raise SynflipError(
                f"images have shape {list(pixels.shape)}; this model ({self.shape}) wants {wanted}"
            )
        return None, self.input_max

    def metadata(self) -> dict[str, str]:
        """Metadata of the model file."""
        return {
            METADATA_KEY: json.dumps(
                {
                    "version": self.version,
                    "k": self.bits,
                    "a": self.activation_bits,
                    "shifts": list(self.shifts),
                    "classes": list(self.classes),
                    "input": {
                        "max": self.input_max,
                        **({"order": CHANNELS_FIRST} if self.channels_first else {}),
                        **({} if self.input_quantizer is None else self.input_quantizer.metadata()),
                    },
                    "source": dict(self.source),
                    **({} if self.version == 1 else {"layers": [layer.metadata() for layer in self.layers]}),
                    **({} if self.features is None else {"features": self.features.metadata()}),
                },
                sort_keys=True,
            )
        }

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Tensors of the model file."""
        out: dict[str, NDArray[Any]] = {}
        for index, layer in enumerate(self.layers):
            out |= {f"l{index}.q": layer.q, f"l{index}.sign": layer.sign, f"l{index}.bias": layer.bias}
        return out if self.input_quantizer is None else out | self.input_quantizer.tensors()


def channels_last(rows: NDArray[Any], size: tuple[int, int, int]) -> NDArray[Any]:
    """Rows [N, I] in the order c, y, x in the order y, x, c. size: H, W, C of an image."""
    height, width, channels = size
    maps = rows.reshape(len(rows), channels, height, width).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(maps).reshape(rows.shape)


def images_at_once(width: int) -> int:
    """How many images of ``width`` bytes are looked at at once."""
    return max(min(IMAGES_AT_ONCE, IMAGE_BYTES // width), 1)


def pixels_to_activations(
    pixels: NDArray[np.integer], input_max: int, activation_bits: int
) -> NDArray[np.uint8]:
    """Pixels [N, I] in 0..input_max to activations uint8 [N, I] in 0..2**A-1.

    A pixel p becomes the integer nearest to p (2**A-1) / input_max, a half rounded up. With input_max = 16
    and A = 8, pixel 8 becomes 128 (127.5) and pixel 1 becomes 16 (15.9). Raises SynflipError for other
    pixels.
    """
    if not np.issubdtype(pixels.dtype, np.integer):
        raise SynflipError(f"images are {pixels.dtype}; pixels are integers in 0..{input_max}")
    if pixels.size and (int(pixels.min()) < 0 or int(pixels.max()) > input_max):
        raise SynflipError(f"pixels are in {pixels.min()}..{pixels.max()}, not in 0..{input_max}")
    return _scaled(pixels, input_max, activation_bits)


def _scaled(pixels: NDArray[np.integer], input_max: int, activation_bits: int) -> NDArray[np.uint8]:
    """``pixels_to_activations`` of pixels that were checked."""
    largest = (1 << activation_bits) - 1
    table = (2 * largest * np.arange(input_max + 1) + input_max) // (2 * input_max)
    if pixels.dtype == np.uint8 and np.array_equal(table, np.arange(len(table))):
        return pixels.astype(np.uint8)  # ten times as fast as looking each one up
    return table.astype(np.uint8)[pixels]


def _check_pixels(pixels: NDArray[np.integer], largest: int, first: int = 0) -> None:
    """first: number of the first image."""
    if pixels.size and (int(pixels.min()) < 0 or int(pixels.max()) > largest):
        where = np.argwhere((pixels < 0) | (pixels > largest))[0]
        raise SynflipError(
            f"pixel {where[1]} of image {first + where[0]} is {pixels[tuple(where)]}; "
            f"this model takes 0..{largest}"
        )


def check(model: CompiledModel) -> None:
    """Refuse a model that cannot be run exactly, naming the layer and the number. Raises SynflipError."""
    _in_range("k, the probability bits,", model.bits, 1, MAX_BITS)
    _in_range("a, the activation bits,", model.activation_bits, 1, MAX_ACTIVATION_BITS)
    _in_range("the number of layers", len(model.layers), 1, MAX_LAYERS)
    _in_range("the largest pixel of `input`", model.input_max, 1, 65535)
    if model.features is not None and model.input_max != model.activation_max:
        raise SynflipError(
            f"the largest pixel of `input` is {model.input_max}; of features it is {model.activation_max}"
        )
    if model.channels_first and (model.layers[0].convolution is None or model.features is not None):
        raise SynflipError(_NO_IMAGES.format(CHANNELS_FIRST))
    if model.input_quantizer is not None:
        wanted = model.inputs if model.features is None else model.features.pixels
        if model.input_quantizer.features != wanted:
            raise SynflipError(
                f"{LOW} has {model.input_quantizer.features} features; an image has {wanted} pixels"
            )
    if len(model.shifts) != len(model.layers) - 1:
        raise SynflipError(
            f"{len(model.shifts)} shifts for {len(model.layers)} layers; every hidden layer needs one"
        )
    for index, layer in enumerate(model.layers):
        _check_layer(model, index, layer)
    if len(model.classes) != model.layers[-1].outputs:
        raise SynflipError(
            f"{len(model.classes)} class names for {model.layers[-1].outputs} logits of the last layer"
        )


def _check_layer(model: CompiledModel, index: int, layer: Layer) -> None:
    name = f"layer {index}"
    for tensor, dtype, what in (
        (layer.q, np.uint16, "q"),
        (layer.sign, np.uint8, "sign"),
        (layer.bias, np.int32, "bias"),
    ):
        if tensor.dtype != dtype:
            raise SynflipError(f"{name}: {what} is {tensor.dtype}, not {np.dtype(dtype)}")
    if layer.q.ndim != 2 or 0 in layer.q.shape:
        raise SynflipError(f"{name}: q has shape {list(layer.q.shape)}, not [outputs, inputs]")
    if layer.sign.shape != layer.q.shape:
        raise SynflipError(f"{name}: sign has shape {list(layer.sign.shape)}, q has {list(layer.q.shape)}")
    if layer.bias.shape != (layer.outputs,):
        raise SynflipError(f"{name}: bias has shape {list(layer.bias.shape)}, not [{layer.outputs}]")
    if layer.outputs > MAX_OUTPUTS:
        raise SynflipError(f"{name}: {layer.outputs} outputs; the coins of a key serve at most {MAX_OUTPUTS}")
    _check_place(model, index, layer)
    if int(layer.q.max()) >> model.bits:
        j, i = np.unravel_index(int(layer.q.argmax()), layer.q.shape)
        raise SynflipError(f"{name}: q[{j}, {i}] = {layer.q[j, i]} needs more than k = {model.bits} bits")
    if int(layer.sign.max()) > 1:
        j, i = np.unravel_index(int(layer.sign.argmax()), layer.sign.shape)
        raise SynflipError(f"{name}: sign[{j}, {i}] = {layer.sign[j, i]}; a sign is 0 or 1")
    rounding = 0
    if index < len(model.shifts):
        _in_range(f"{name}: the shift", model.shifts[index], 0, MAX_SHIFT)
        rounding = (1 << model.shifts[index]) >> 1
    lowest, highest = sum_bounds(layer, model.activation_max)
    _fits(f"{name}: the sum of output", lowest, highest, ACCUMULATOR_BITS, "accumulator")
    bias = layer.bias.astype(np.int64)
    _fits(f"{name}: bias plus sum of output", lowest + bias, highest + bias + rounding, LOGIT_BITS, "logit")
    _fits(f"{name}: bias plus rounding of output", bias, bias + rounding, LOGIT_BITS, "bias")


def _check_place(model: CompiledModel, index: int, layer: Layer) -> None:
    """What enters a layer is what leaves the one before."""
    name, here = f"layer {index}", layer.convolution
    if here is not None:
        if index == len(model.layers) - 1:
            raise SynflipError(f"{name} is a convolution; the last layer, which makes the logits, is dense")
        if layer.rows != here.rows:
            kernel = "x".join(map(str, here.kernel))
            raise SynflipError(
                f"{name}: q has {layer.rows} rows; kernels of {kernel} over {here.input[2]} channels have "
                f"{here.rows}"
            )
    if index == 0:
        return
    before = model.layers[index - 1]
    if here is None:
        if layer.inputs != before.width:
            raise SynflipError(f"{name}: {layer.inputs} inputs after a layer of {before.width} outputs")
    elif before.convolution is None:
        raise SynflipError(f"{name} is a convolution after a dense layer, whose outputs have no places")
    elif here.input != (*before.convolution.output, before.outputs):
        have, wanted = (
            "x".join(map(str, sizes)) for sizes in ((*before.convolution.output, before.outputs), here.input)
        )
        raise SynflipError(f"{name}: its input is {wanted}, the layer before makes {have}")


def sum_bounds(layer: Layer, largest: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lowest and highest sum that the coins of each output can reach, int64 [J] each, for activations
    0..``largest``. At the border of a convolution a part of these coins counts: the bounds hold there too."""
    heads = layer.q > 0  # T(q) is 0 for q = 0 alone
    negative = layer.sign.astype(bool)
    return -largest * (heads & negative).sum(1, dtype=np.int64), largest * (heads & ~negative).sum(
        1, dtype=np.int64
    )


def _fits(what: str, lowest: NDArray[np.int64], highest: NDArray[np.int64], bits: int, unit: str) -> None:
    limit = 1 << (bits - 1)
    bad = (lowest < -limit) | (highest >= limit)
    if bad.any():
        j = int(bad.argmax())
        raise SynflipError(
            f"{what} {j} can be anything in {lowest[j]}..{highest[j]}, beyond the {bits}-bit {unit} "
            f"({-limit}..{limit - 1})"
        )


def _in_range(what: str, value: int, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise SynflipError(f"{what} must be an integer in {least}..{most}, not {value!r}")


def from_tensors(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> CompiledModel:
    """The model that a file's tensors and metadata describe. Raises SynflipError, naming what is wrong."""
    try:
        header = json.loads(metadata[METADATA_KEY])
    except KeyError:
        raise SynflipError("no `synflip` entry in the file's metadata: not a compiled model") from None
    except (ValueError, RecursionError) as error:
        raise SynflipError(f"the `synflip` metadata is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise SynflipError("the `synflip` metadata is not a JSON object")
    version = header.get("version")
    if isinstance(version, bool) or not isinstance(version, int) or version not in VERSIONS:
        raise SynflipError(
            f"model file version {version!r}; this synflip reads {VERSIONS[0]} and {VERSIONS[1]}"
        )
    count = len([name for name in tensors if name.endswith(".q")])
    expected = {f"l{index}.{part}" for index in range(count) for part in ("q", "sign", "bias")}
    if LOW in tensors or HIGH in tensors:
        expected |= {LOW, HIGH}
    if expected != set(tensors):
        odd = sorted(expected ^ set(tensors))[0]
        raise SynflipError(
            f"tensor {odd} is {'missing' if odd in expected else 'not part of a compiled model'}"
        )
    shifts, classes = header.get("shifts"), header.get("classes")
    if not isinstance(shifts, list) or not isinstance(classes, list):
        raise SynflipError("`shifts` and `classes` of the `synflip` metadata must be lists")
    if version == 1 and "layers" in header:
        raise SynflipError("`layers` in a model file of version 1: what its layers are, only version 2 says")
    if version == 1 and count > MAX_LAYERS_VERSION_1:
        raise SynflipError(
            f"{count} layers; a model file of version 1 has at most {MAX_LAYERS_VERSION_1}, one of version 2 "
            f"{MAX_LAYERS}"
        )
    places = [None] * count if version == 1 else _places(header.get("layers"), count)
    image = header.get("input", {})
    if not isinstance(image, dict):
        raise SynflipError('`input` of the `synflip` metadata must be an object such as {"max": 255}')
    order = image.get("order", CHANNELS_LAST)
    if order not in ORDERS:
        raise SynflipError(f"`order` of the input is {order!r}, not {ORDERS[0]!r} or {ORDERS[1]!r}")
    if "order" in image and (not any(places[:1]) or "features" in header):
        raise SynflipError(_NO_IMAGES.format(order))
    activation_bits: Any = header.get("a")
    _in_range("a, the activation bits,", activation_bits, 1, MAX_ACTIVATION_BITS)
    source = header.get("source", {})
    return CompiledModel(
        layers=tuple(
            Layer(tensors[f"l{index}.q"], tensors[f"l{index}.sign"], tensors[f"l{index}.bias"], place)
            for index, place in enumerate(places)
        ),
        bits=header.get("k"),  # type: ignore[arg-type]  # checked by CompiledModel
        activation_bits=activation_bits,
        shifts=tuple(shifts),
        classes=tuple(str(name) for name in classes),
        input_max=image.get("max", (1 << activation_bits) - 1),
        source=source if isinstance(source, dict) else {"text": str(source)},
        features=Features.from_metadata(header["features"]) if "features" in header else None,
        input_quantizer=InputQuantizer.from_file(image, tensors) if LOW in tensors else None,
        channels_first=order == CHANNELS_FIRST,
    )


def _places(value: Any, count: int) -> list[Convolution | None]:
    """What ``layers`` of a model file of version 2 say. Raises SynflipError, naming the layer."""
    if not isinstance(value, list) or len(value) != count:
        raise SynflipError(
            f"`layers` of the `synflip` metadata must be a list of {count} objects, one a layer"
        )
    places: list[Convolution | None] = []
    for index, item in enumerate(value):
        kind = item.get("kind") if isinstance(item, dict) else None
        if kind == CONVOLUTION:
            try:
                places.append(Convolution.from_metadata(item))
            except SynflipError as error:
                raise SynflipError(f"layer {index}: {error}") from None
        elif kind == DENSE and len(item) == 1:
            places.append(None)
        else:
            raise SynflipError(
                f'layer {index}: `layers` says {item!r}; there are {{"kind": "{DENSE}"}} and '
                f'{{"kind": "{CONVOLUTION}", "input": ..., "kernel": ...}}'
            )
    return places
