"""Convolutions on the array: the segments of a map's lists that each position takes.

A map is an event list a bank. Its row blocks are (y * W + x) * C/Q + c // Q, and its pixels come in the order
y, x. So what a line of the kernel meets at a position, pixels x..x' of line y, lies side by side in every
bank: a segment. The row of the kernel that an event meets is its row block plus the segment's offset.

The first layer goes over an image, which every bank has whole, with the zeros around it. There a position is
one segment, of all rows of the kernel: bank b takes row r * Q + b at the position plus ``image_taps``. The
driver writes segments and taps.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synflip.spec.convolution import Convolution
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import (
    FLAGS_SHIFT,
    LAYER_END,
    PAST_SHIFT,
    POSITION_END,
    TAP_BLOCKS,
    WINDOW_END,
)
from synflip.spec.model import CompiledModel
from synflip.spec.sizes import ceil_div, log2_ceil, padded_rows


@dataclass(frozen=True, eq=False)
class Program:
    """The segments of one tile of a convolution, in order: pool window by window, position by position, line
    by line of the kernel. All are int64 or bool [segments].

    first, past: pixels of the map before the segment's first, and before the first behind it. Over an image:
        first is the place of the position's first activation, past is 0.
    offset: what is added to an event's row block to have its row block of the kernel.
    position_end, window_end: the segment is its position's, its pool window's last.
    """

    first: NDArray[np.int64]
    past: NDArray[np.int64]
    offset: NDArray[np.int64]
    position_end: NDArray[np.bool_]
    window_end: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.first)

    def taken(self, tiles: int) -> Iterator[tuple[int, int]]:
        """(number of the segment, tile) as a convolution of so many tiles takes them: each pool window's
        segments again for every tile."""
        begin = 0
        for past in (np.flatnonzero(self.window_end) + 1).tolist():
            yield from ((number, tile) for tile in range(tiles) for number in range(begin, past))
            begin = past

    def words(self) -> NDArray[np.uint32]:
        """uint32 [segments, SEGMENT_WORDS], as the memory map wants them."""
        flags = self.position_end * POSITION_END + self.window_end * WINDOW_END
        flags[-1] += LAYER_END
        places = self.first | self.past << PAST_SHIFT
        return np.stack(
            [places, (self.offset & (1 << FLAGS_SHIFT) - 1) | flags << FLAGS_SHIFT], axis=1
        ).astype(np.uint32)


def positions(place: Convolution) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Down, across [positions] of those that the pool windows use, window by window; and which are their
    window's last."""
    (down, across), (high, wide) = place.output, place.pool
    y, x, dy, dx = (part.ravel() for part in np.indices((down, across, high, wide), dtype=np.int64))
    return y * high + dy, x * wide + dx, (dy == high - 1) & (dx == wide - 1)


def image_program(place: Convolution) -> Program:
    """Of a convolution over an image."""
    y, x, window_end = positions(place)
    _, width, channels = padded(place)
    first = (y * place.stride[0] * width + x * place.stride[1]) * channels
    zeros = np.zeros(len(y), dtype=np.int64)
    return Program(first, zeros, zeros, np.ones(len(y), dtype=bool), window_end)


def map_program(place: Convolution, banks: int) -> Program:
    """Of a convolution over a map, whose channels are a multiple of the banks. A position without a pixel
    inside has no segment."""
    height, width, channels = place.input
    (kh, kw), blocks = place.kernel, channels // banks
    y, x, window_end = positions(place)
    left = (x * place.stride[1] - place.pad[1])[:, None]
    dy = np.arange(kh)
    line = (y * place.stride[0] - place.pad[0])[:, None] + dy
    begin, end = left.clip(0), (left + kw).clip(max=width)
    inside = (line >= 0) & (line < height) & (begin < end)
    offset = dy * kw * blocks - (line * width + left) * blocks
    last = inside & (np.cumsum(inside[:, ::-1], axis=1)[:, ::-1] == 1)
    return Program(
        (line * width + begin)[inside],
        (line * width + end)[inside],
        offset[inside],
        last[inside],
        (last & window_end[:, None])[inside],
    )


def programs(model: CompiledModel, banks: int) -> list[Program | None]:
    """Of each layer; None of a dense one."""
    found: list[Program | None] = []
    for index, layer in enumerate(model.layers):
        place = layer.convolution
        if place is None:
            found.append(None)
        else:
            found.append(map_program(place, banks) if index else image_program(place))
    return found


def padded(place: Convolution) -> tuple[int, int, int]:
    """H, W, C with the zeros around."""
    (height, width, channels), (down, across) = place.input, place.pad
    return height + 2 * down, width + 2 * across, channels


def with_zeros(x: NDArray[np.uint8], place: Convolution) -> NDArray[np.uint8]:
    """Activations [N, H * W * C] of images with the zeros around, as the banks have them."""
    (down, across), images = place.pad, x.reshape(-1, *place.input)
    return np.pad(images, ((0, 0), (down, down), (across, across), (0, 0))).reshape(len(x), -1)


def array_images(model: CompiledModel, pixels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Activations of images [N, I] as an accelerator that has the whole model takes them: with the zeros
    around, if the first layer is a convolution."""
    x, first = model.activations(pixels), model.layers[0].convolution
    return x if first is None else with_zeros(x, first)


def image_taps(place: Convolution, banks: int) -> NDArray[np.int64]:
    """[row blocks, banks]: where a row's activation is, from a position's first one. 0 for rows that only
    fill a row block, which have no weights."""
    _, width, channels = padded(place)
    taps = np.zeros(padded_rows(place.rows), dtype=np.int64)
    dy, dx, channel = (part.ravel() for part in np.indices((*place.kernel, channels)))
    taps[: place.rows] = (dy * width + dx) * channels + channel
    return taps.reshape(-1, banks)


def image_shift(model: CompiledModel, geometry: Geometry) -> int:
    """log2 of the places that an image takes in a bank."""
    first = model.layers[0].convolution
    if first is None:
        return log2_ceil(ceil_div(model.rows[0], geometry.banks))
    height, width, channels = padded(first)
    return log2_ceil(height * width * channels)


def segment_loads(
    x: NDArray[np.uint8], place: Convolution, program: Program, banks: int
) -> NDArray[np.int64]:
    """int64 [N, segments]: events of the fullest bank, of a map's activations [N, H * W * C]."""
    pixels, channels = place.input[0] * place.input[1], place.input[2]
    events = (x != 0).reshape(len(x), pixels, channels // banks, banks).sum(2, dtype=np.int64)
    ends = np.concatenate([np.zeros((len(x), 1, banks), dtype=np.int64), events.cumsum(1)], axis=1)
    return (ends[:, program.past] - ends[:, program.first]).max(2)


def shortage_of_maps(model: CompiledModel, geometry: Geometry) -> str:
    """What the convolutions of a model need and an accelerator lacks; empty if it runs them."""
    if not geometry.map_depth:
        return "positions of a convolution, there are dense layers"
    segments = 0
    for index, (layer, program) in enumerate(zip(model.layers, programs(model, geometry.banks), strict=True)):
        if layer.convolution is None or program is None:
            continue
        if layer.outputs % geometry.banks:
            return (
                f"channels of layer {index} that are a multiple of {geometry.banks}, the banks; it has "
                f"{layer.outputs}"
            )
        segments += len(program)
        place, blocks = layer.convolution, padded_rows(layer.rows) // geometry.banks
        (down, across), (high, wide) = place.output, place.pool
        needs = [
            ("events a bank of a map", down * across * layer.outputs // geometry.banks, geometry.map_depth),
            ("segments", segments, geometry.map_segments),
            (
                "positions with a pixel inside",
                down * high * across * wide,
                int(program.position_end.sum()),
            ),
        ]
        if index:
            needs.append(("pixels of a map", place.input[0] * place.input[1], geometry.map_pixels))
        else:
            needs += [
                ("row blocks of a kernel over images", blocks, TAP_BLOCKS),
                ("pixels of an image with the zeros around", math.prod(padded(place)), 1 << PAST_SHIFT),
            ]
        for what, needed, there in needs:
            if needed > there:
                return f"{needed} {what}, there are {there}"
    return ""
