"""The segments of convolutions against the contract's taps, and what an accelerator has no room for."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from synflip.errors import SynflipError
from synflip.inference.plan import check_fit, fits, most_images
from synflip.spec import maps
from synflip.spec.convolution import Convolution
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import LAYER_END, POSITION_END, WINDOW_END
from synflip.spec.model import CompiledModel

from tests.networks import convolution_layer, random_layers

GEOMETRY = Geometry(16, 2, map_depth=64)
PLACES = [
    Convolution((5, 4, 4), (3, 3), pad=(1, 1), pool=(2, 2)),
    Convolution((5, 7, 2), (2, 3), stride=(1, 2), pad=(0, 2), pool=(2, 1)),
    Convolution((3, 3, 6), (3, 3)),
    Convolution((6, 5, 4), (1, 1), stride=(2, 3)),
    Convolution((4, 9, 2), (3, 2), stride=(2, 1), pad=(2, 1), pool=(1, 4)),
]


def taps(x: NDArray[np.uint8], place: Convolution) -> dict[tuple[int, int], NDArray[np.uint8]]:
    """What each position of a convolution meets, in the order of the kernel's rows: by the contract."""
    height, width, channels = place.input
    found = {}
    for oy in range(place.positions[0]):
        for ox in range(place.positions[1]):
            rows = np.zeros(place.rows, dtype=np.uint8)
            for i in range(place.rows):
                dy, dx, c = i // channels // place.kernel[1], i // channels % place.kernel[1], i % channels
                y, column = oy * place.stride[0] + dy - place.pad[0], ox * place.stride[1] + dx - place.pad[1]
                if 0 <= y < height and 0 <= column < width:
                    rows[i] = x[(y * width + column) * channels + c]
            found[oy, ox] = rows
    return found


def in_order(place: Convolution) -> list[tuple[int, int]]:
    """Positions as the pool windows take them."""
    (down, across), (high, wide) = place.output, place.pool
    return [
        (y * high + dy, x * wide + dx)
        for y in range(down)
        for x in range(across)
        for dy in range(high)
        for dx in range(wide)
    ]


def image(place: Convolution) -> NDArray[np.uint8]:
    rng = np.random.default_rng(place.inputs)
    return (rng.integers(1, 256, place.inputs) * (rng.random(place.inputs) < 0.6)).astype(np.uint8)


@pytest.mark.parametrize("place", PLACES, ids=str)
@pytest.mark.parametrize("banks", [1, 2])
def test_segments_of_a_map_are_the_contract_s_taps(place: Convolution, banks: int) -> None:
    """Lists as the accelerator keeps them; each event of a segment goes to its row of the kernel."""
    x, program = image(place), maps.map_program(place, banks)
    wanted = taps(x, place)
    blocks = np.arange(len(x)) // banks  # row block of each activation
    pixel = np.arange(len(x)) // place.input[2]
    rows, positions, windows = np.zeros(place.rows, dtype=np.uint8), 0, 0
    loads = maps.segment_loads(x[None], place, program, banks)[0]
    for number in range(len(program)):
        counts = []
        for bank in range(banks):
            inside = (program.first[number] <= pixel) & (pixel < program.past[number]) & (x != 0)
            events = np.flatnonzero(inside & (np.arange(len(x)) % banks == bank))
            met = (blocks[events] + program.offset[number]) * banks + bank
            assert not rows[met].any()
            rows[met] = x[events]
            counts.append(len(events))
        assert loads[number] == max(counts)
        if program.position_end[number]:
            assert rows.tolist() == wanted[in_order(place)[positions]].tolist()
            rows[:], positions = 0, positions + 1
            if program.window_end[number]:
                windows += 1
                assert positions == windows * place.pool[0] * place.pool[1]
    assert positions == len(in_order(place)) and windows == place.output[0] * place.output[1]


@pytest.mark.parametrize("place", PLACES, ids=str)
@pytest.mark.parametrize("banks", [1, 8])
def test_taps_of_an_image_are_the_contract_s(place: Convolution, banks: int) -> None:
    x, program, found = image(place), maps.image_program(place), maps.image_taps(place, banks)
    wanted, padded = taps(x, place), maps.with_zeros(x[None], place)[0]
    assert len(program) == len(in_order(place)) and program.position_end.all()
    for first, position in zip(program.first, in_order(place), strict=True):
        assert padded[first + found.ravel()[: place.rows]].tolist() == wanted[position].tolist()


def test_words() -> None:
    """Two positions of a line of two: 1x4, kernel of 1x2, windows of 1x3; in 2 banks of one channel each."""
    program = maps.map_program(Convolution((1, 4, 2), (1, 2), pool=(1, 3)), 2)
    flags = [POSITION_END, POSITION_END, POSITION_END + WINDOW_END + LAYER_END]
    offsets = [0, 0xFFFFFF, 0xFFFFFE]  # 0, -1, -2
    assert program.words().tolist() == [
        [first | first + 2 << 16, offset | flag << 24]
        for first, (offset, flag) in enumerate(zip(offsets, flags, strict=True))
    ]


def network(*places: tuple[Convolution, int]) -> CompiledModel:
    rng = np.random.default_rng(1)
    layers = [convolution_layer(rng, outputs, place) for place, outputs in places]
    layers += random_layers(rng, (layers[-1].width, 3))
    return CompiledModel(tuple(layers), 4, 8, (3,) * len(places), ("a", "b", "c"), 255)


@pytest.mark.parametrize(
    ("places", "other", "missing"),
    [
        ([((4, 4, 1), 4, {})], {"map_depth": 0}, "dense layers"),
        ([((4, 4, 1), 3, {})], {}, "multiple of 2, the banks; it has 3"),
        ([((4, 4, 1), 34, {})], {"map_depth": 60}, "68 events a bank of a map, there are 60"),
        ([((7, 7, 1), 2, {}), ((5, 5, 2), 2, {})], {}, "25 pixels of a map, there are 16"),
        ([((16, 16, 1), 2, {"pool": (4, 4)})], {}, "144 segments, there are 128"),
        ([((3, 3, 1), 2, {"pad": (3, 3), "pool": (4, 4)}), ((1, 1, 2), 2, {"pad": (3, 3)})], {}, "inside"),
        ([((3, 3, 20), 2, {})], {}, "92 row blocks of a kernel over images, there are 64"),
        ([((4, 4, 1), 4, {"pad": (2, 2), "pool": (2, 2)})], {"event_depth": 60}, "64 events a bank for one"),
    ],
)  # fmt: skip
def test_what_does_not_fit_runs_in_parts(
    places: list[tuple[Any, int, dict[str, Any]]], other: dict[str, int], missing: str
) -> None:
    model = network(*((Convolution(size, (3, 3), **more), outputs) for size, outputs, more in places))
    geometry = replace(GEOMETRY, **other)
    assert not fits(model, geometry)
    with pytest.raises(SynflipError, match=missing):
        check_fit(model, geometry)


def test_an_image_takes_its_places_in_every_bank() -> None:
    model = network((Convolution((4, 4, 3), (3, 3), pad=(1, 1)), 4))
    assert maps.image_shift(model, GEOMETRY) == 7  # 6 * 6 * 3 = 108
    assert fits(model, GEOMETRY)
    assert most_images(model, replace(GEOMETRY, event_depth=300)) == 2
