"""What may be asked for over HTTP, checked: images, rows of a table, samples, seed, margin, devices."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from synflip.data.registry import data_name, image_form
from synflip.errors import SynflipError
from synflip.inference.request import InferenceRequest, Pixels
from synflip.spec.model import CompiledModel, Images
from synflip.util.arrays import whole_number
from synflip.util.extras import require
from synflip.util.text import one_line

MOST_SAMPLES = 256
MOST_DEVICES = 2  # side by side
_BYTES_A_NUMBER, _BYTES_BESIDE, _MOST_BYTES = 32, 1 << 14, 1 << 23
_FIELDS = {"pixels", "row", "samples", "seed", "margin", "stop", "devices", "coins"}


def most_bytes(model: CompiledModel) -> int:
    """Bytes that a request for ``model`` may have: enough for one image, or a row with its header."""
    wide = model.inputs if model.features is None else model.features.pixels
    return min(_BYTES_BESIDE + _BYTES_A_NUMBER * wide, _MOST_BYTES)


@dataclass(frozen=True)
class Picture:
    """How an image of H x W pixels becomes a flat row: C channels, first or last.

    least, largest: of a pixel, black and white. whole: whether pixels are integers, or features of any range.
    light: whether the images are known to be light on a dark ground, as digits and garments are.
    """

    height: int
    width: int
    channels: int
    channels_first: bool
    largest: float
    least: float = 0.0
    whole: bool = True
    light: bool = False

    @classmethod
    def of(cls, model: CompiledModel, shape: Sequence[int] | None = None) -> "Picture | None":
        """The model's; None if it takes rows of a table, or nothing says the shape of its images.

        shape: [H, W] or [C, H, W] of the images of its test set, for a model that does not say it itself.
        """
        known, most = image_form(model)
        quantizer = model.input_quantizer
        least, largest, light = 0.0, float(most), quantizer is None and data_name(model) is not None
        if quantizer is not None:
            known = None if quantizer.columns else model.image_shape or quantizer.shape
            least, largest = float(quantizer.low.min()), float(quantizer.high.max())
        elif known is None and shape is not None and math.prod(shape) == model.inputs:
            known = tuple(shape)
        if known is None or not least < largest:
            return None
        first = model.layers[0].convolution
        last = len(known) == 3 and first is not None and model.features is None and not model.channels_first
        channels, height, width = (known[2], *known[:2]) if last else (1, *known)[-3:]
        if channels not in (1, 3) or 1 in (height, width):  # [1, I] are rows of a table
            return None
        return cls(
            height, width, channels, not last, largest, least, quantizer is None, light and channels == 1
        )


@dataclass(frozen=True, eq=False)
class Asked:
    """An inference of one image that somebody asks for.

    request: of the image, with logits, without a margin. margin: a lead in votes, or None; stop: whether the
    image leaves with it, or it is only said when it would have. devices: names, one or two. coins: number of
    the layer whose coins are shown, or None.
    """

    request: InferenceRequest
    margin: int | None
    stop: bool
    devices: tuple[str, ...]
    coins: int | None

    @classmethod
    def of(cls, body: bytes, model: CompiledModel, names: Sequence[str]) -> "Asked":
        """From the JSON object of a request. names: of the devices that there are. Raises SynflipError."""
        try:
            fields = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise SynflipError(f"the request is no JSON: {one_line(str(error))}") from None
        if not isinstance(fields, dict) or not fields.keys() <= _FIELDS:
            odd = sorted(fields.keys() - _FIELDS)[0] if isinstance(fields, dict) else "another thing"
            raise SynflipError(f"a request has {', '.join(sorted(_FIELDS))}, not {one_line(odd)}")
        samples = whole_number(fields.get("samples", 16), "samples", 1, MOST_SAMPLES)
        margin = fields.get("margin")
        if margin is not None:
            margin = whole_number(margin, "margin", 1, MOST_SAMPLES)
        coins = fields.get("coins")
        if coins is not None:
            coins = whole_number(coins, "coins, the number of a layer,", 0, len(model.layers) - 1)
        stop = fields.get("stop", False)
        if not isinstance(stop, bool):
            raise SynflipError("stop must be true or false")
        image = cast(Images, _image(fields, model))  # the request makes images of it
        request = InferenceRequest(model, image, samples, fields.get("seed", 0), logits=True)
        return cls(request, margin, stop and margin is not None, _devices(fields, names), coins)


def _devices(fields: Mapping[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    wanted = fields.get("devices", [names[0]])
    if (
        not isinstance(wanted, list)
        or not 1 <= len(wanted) <= MOST_DEVICES
        or len(wanted) > len(set(map(str, wanted)))
    ):
        raise SynflipError("devices are a list of one or two different names")
    for name in wanted:
        if name not in names:
            raise SynflipError(
                f"no device {one_line(str(name))!r} is served here; there are {', '.join(names)}"
            )
    return tuple(wanted)


def _image(fields: Mapping[str, Any], model: CompiledModel) -> Pixels:
    """One image or row in a form that ``InferenceRequest`` takes. Raises SynflipError."""
    pixels, row = fields.get("pixels"), fields.get("row")
    if isinstance(pixels, list) and row is None and all(type(value) in (int, float) for value in pixels):
        if any(type(value) is int and abs(value) >= 1 << 63 for value in pixels):
            raise SynflipError("pixels are out of range")
        return np.array([pixels])
    if isinstance(row, str) and pixels is None:
        return parse_row(row, model)
    raise SynflipError(
        "give pixels, a list of numbers, or row, a text of comma-separated values: one of them"
    )


def parse_row(text: str, model: CompiledModel) -> Pixels:
    """The one row of a table in ``text``, comma-separated values, perhaps below the columns' names.

    Returns a frame of a model whose columns have names, else numbers [1, I]. Raises SynflipError.
    """
    try:
        lines = [line for line in csv.reader(io.StringIO(text), skipinitialspace=True, strict=True) if line]
    except csv.Error as error:
        raise SynflipError(f"the row is no line of comma-separated values: {one_line(str(error))}") from None
    columns = () if model.input_quantizer is None else model.input_quantizer.columns
    names = [column.name for column in columns]
    header = lines.pop(0) if len(lines) == 2 else None
    if len(lines) != 1:
        raise SynflipError(f"give one row, perhaps below a line of names; there are {len(lines)} lines")
    cells = lines[0]
    if columns and (header is not None or len(cells) == len(names)):
        require("pandas", extra="tables")
        import pandas

        if len(cells) != len(header or names):
            raise SynflipError(f"{len(cells)} values below {len(header or names)} names")
        return pandas.DataFrame([cells], columns=header or names, dtype=object)
    try:
        numbers = np.array([[float(cell) for cell in cells]])
    except ValueError as error:
        raise SynflipError(f"the row has what is no number: {one_line(str(error))}") from None
    whole = (np.abs(numbers) < 2.0**53) & (numbers == np.rint(numbers))  # exact as integers
    return numbers.astype(np.int64) if model.input_quantizer is None and whole.all() else numbers


def row_text(features: NDArray[Any], model: CompiledModel) -> str:
    """Features [I] as ``parse_row`` reads them: a category by its name, numbers to the last bit."""
    cells, first = [], 0
    for column in () if model.input_quantizer is None else model.input_quantizer.columns:
        part = features[first : first + column.width]
        cells.append(column.categories[int(part.argmax())] if column.categories else repr(part[0].item()))
        first += column.width
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells or [repr(value.item()) for value in features])
    return line.getvalue()
