"""The input quantizer: how features of any range become a model's pixels, in float64, to the bit.

    pixel = rint((min(max(x, low), high) - low) * (M / (high - low)))     0 if high = low

Every operation is one of IEEE 754 on binary64, rounded to nearest, ties to even; ``rint`` rounds a half to
even too. numpy makes one pass for each operation and never fuses two, so every machine gives the same pixels.
With low = -1, high = 1 and M = 255, x = 0.2 becomes rint(1.2 * 127.5) = 153.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synflip.errors import SynflipError

LOW, HIGH = "input.low", "input.high"  # tensors of a model file
_BLOCK = 1 << 17  # numbers at once
_MIN_SPAN = 2.0**-1000  # of a feature that is not constant: M / (high - low) stays finite


@dataclass(frozen=True)
class Column:
    """A column of a table: numbers; or, with ``categories``, text, which becomes a feature for each category
    in that order, 1 for the row's own and 0 for the others."""

    name: str
    categories: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Features that it becomes."""
        return len(self.categories) or 1


@dataclass(frozen=True, eq=False)
class InputQuantizer:
    """How rows of I features become pixels: see the module.

    low, high: float64 [I], the range of each feature; values outside are clipped. shape: of a row, [1, I] of
    a table, [H, W] or [C, H, W] of a picture. columns: of the table, or empty if the features have no names.
    label: the column of labels, which a table may have too; or None. quantiles: of the training rows, which
    low and high are; None if it is not known. Raises SynflipError for values that make no sense.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    shape: tuple[int, ...]
    columns: tuple[Column, ...] = ()
    label: str | None = None
    quantiles: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name, bound in ((LOW, self.low), (HIGH, self.high)):
            if bound.dtype != np.float64 or bound.ndim != 1 or bound.shape != self.low.shape:
                raise SynflipError(f"{name} is {bound.dtype} {list(bound.shape)}, not float64 [I], as {LOW}")
        span = _span(self.low, self.high)
        bad = ~(np.isfinite(span) & ((span == 0) | (span >= _MIN_SPAN)))
        if len(self.shape) not in (2, 3) or math.prod(self.shape) != len(self.low) or min(self.shape) < 1:
            raise SynflipError(
                f"`shape` of the input is {list(self.shape)}; there are {len(self.low)} features"
            )
        if self.columns and sum(column.width for column in self.columns) != len(self.low):
            raise SynflipError(
                f"`columns` of the input make {sum(column.width for column in self.columns)} features; there "
                f"are {len(self.low)}"
            )
        if len({column.name for column in self.columns}) != len(self.columns):
            raise SynflipError("`columns` of the input have a name twice")
        if bad.any():
            i = int(bad.argmax())
            raise SynflipError(
                f"{place(i, self.columns)} ranges over {self.low[i]}..{self.high[i]}, which is no range"
            )

    @property
    def features(self) -> int:
        """I."""
        return len(self.low)

    def pixels(self, rows: NDArray[Any], largest: int, first: int = 0) -> NDArray[np.integer]:
        """Rows [N, I] of any numbers to pixels in 0..``largest``: uint8 [N, I], or int32 above 255.

        first: number of the first row, for messages. Raises SynflipError for a number that is not finite.
        """
        span = _span(self.low, self.high)
        scale = np.divide(float(largest), span, out=np.zeros_like(span), where=span > 0)
        found = np.empty(rows.shape, dtype=np.uint8 if largest < 256 else np.int32)
        for at in _blocks(rows):
            wide = rows[at].astype(np.float64)
            check_finite(wide, self.columns, first + at.start)
            clipped = np.minimum(np.maximum(wide, self.low), self.high)
            found[at] = np.rint((clipped - self.low) * scale)
        return found

    def tensors(self) -> dict[str, NDArray[np.float64]]:
        """Tensors of the model file."""
        return {LOW: self.low, HIGH: self.high}

    def metadata(self) -> dict[str, Any]:
        """What the model file's ``input`` says besides the largest pixel."""
        found: dict[str, Any] = {"shape": list(self.shape)}
        if self.columns:
            found["columns"] = [[column.name, *column.categories] for column in self.columns]
        if self.label is not None:
            found["label"] = self.label
        if self.quantiles is not None:
            found["quantiles"] = list(self.quantiles)
        return found

    @classmethod
    def from_file(cls, value: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> "InputQuantizer":
        """From ``input`` of a model file's metadata, and the file's tensors. Raises SynflipError."""
        shape, columns, label = value.get("shape"), value.get("columns", []), value.get("label")
        if not isinstance(shape, list) or not all(type(size) is int for size in shape):
            raise SynflipError(f"`shape` of the input is {shape!r}, not a list of sizes")
        if not isinstance(columns, list) or not all(
            isinstance(words, list) and words and all(isinstance(word, str) for word in words)
            for words in columns
        ):
            raise SynflipError("`columns` of the input must be lists of text: a name, and its categories")
        if not isinstance(label, str | None):
            raise SynflipError(f"`label` of the input is {label!r}, not the name of a column")
        shares = value.get("quantiles", [0, 1])
        if (
            not isinstance(shares, list)
            or [type(share) in (int, float) for share in shares] != [True, True]
            or not 0 <= shares[0] < shares[1] <= 1
        ):
            raise SynflipError("`quantiles` of the input are not two numbers, 0 <= low < high <= 1")
        quantiles = (float(shares[0]), float(shares[1])) if "quantiles" in value else None
        named = tuple(Column(words[0], tuple(words[1:])) for words in columns)
        return cls(tensors[LOW], tensors[HIGH], tuple(shape), named, label, quantiles)

    @classmethod
    def fit(
        cls,
        rows: NDArray[Any],
        shape: Sequence[int],
        columns: Sequence[Column] = (),
        label: str | None = None,
        quantiles: tuple[float, float] = (0.0, 1.0),
    ) -> "InputQuantizer":
        """The quantizer of some rows [N, I] of numbers that float64 has, N at least 1, all finite.

        Each feature of a table ranges over its quantiles: (0, 1) is its least and greatest value. The pixels
        of pictures, of which ``shape`` has more than one row, share one range. Raises SynflipError.
        """
        axis = 0 if len(shape) == 2 and shape[0] == 1 else None
        with np.errstate(over="ignore", invalid="ignore"):
            low, high = (
                np.broadcast_to(_quantile(rows, share, axis), (rows.shape[1],)).copy() for share in quantiles
            )
        high[_span(low, high) < _MIN_SPAN] = low[_span(low, high) < _MIN_SPAN]
        return cls(low, high, tuple(shape), tuple(columns), label, quantiles)


def check_finite(rows: NDArray[Any], columns: Sequence[Column] = (), first: int = 0) -> None:
    """Raises SynflipError for a number in rows [N, I] that is not finite. first: number of the first row."""
    for at in _blocks(rows) if rows.dtype.kind == "f" else ():
        finite = np.isfinite(rows[at])
        if not finite.all():
            n, i = (int(where) for where in np.argwhere(~finite)[0])
            raise SynflipError(
                f"row {first + at.start + n} (from 0), {place(i, columns)} is {rows[at][n, i]}: a feature is "
                "a finite number"
            )


def place(feature: int, columns: Sequence[Column]) -> str:
    """A feature in messages: ``column 3``, ``column age``, or of a category ``column colour = red``."""
    left = feature
    for column in columns:
        if left < column.width:
            category = f" = {column.categories[left]}" if column.categories else ""
            return f"column {column.name}{category}"
        left -= column.width
    return f"column {feature}"


def _blocks(rows: NDArray[Any]) -> Iterator[slice]:
    """Rows [N, I] in parts, so that what is made of a part takes little memory."""
    step = max(_BLOCK // max(rows.shape[1], 1), 1)
    for first in range(0, len(rows), step):
        yield slice(first, first + step)


def _quantile(rows: NDArray[Any], share: float, axis: int | None) -> NDArray[np.float64]:
    """A quantile of rows as float64 has them. The least and the greatest number take no memory; +0 is what
    both zeros become."""
    if share in (0, 1):
        return np.asarray(rows.min(axis) if share == 0 else rows.max(axis), dtype=np.float64) + 0.0
    return np.asarray(np.quantile(rows.astype(np.float64, copy=False), share, axis=axis))


def _span(low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    """high - low: at least 0 of a range, infinite or NaN of what is none."""
    with np.errstate(over="ignore", invalid="ignore"):
        return high - low
