"""Features of any range in a request: the quantizer is applied once, the same for every device."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from synflip.devices.registry import open_device
from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.inference.request import InferenceRequest, as_images
from synflip.spec.input_quantizer import Column, InputQuantizer
from synflip.spec.model import CompiledModel

from tests.networks import random_network

RNG = np.random.default_rng(9)
ROWS = RNG.normal(0, 4, (30, 5))
QUANTIZER = InputQuantizer(
    np.array([-8.0, -4, 0, 0, -1]),
    np.array([8.0, 4, 1, 1, 5]),
    (1, 5),
    (Column("age"), Column("dose"), Column("colour", ("blue", "red")), Column("time")),
    "kind",
)
PLAIN = random_network(RNG, (5, 12, 3))
MODEL = dataclasses.replace(PLAIN, input_quantizer=QUANTIZER)
PIXELS = QUANTIZER.pixels(ROWS, 255)


def votes(model: CompiledModel, images: Any) -> np.ndarray:
    with Golden() as device:
        device.load(model)
        return device.infer(images, 16, 3).votes


WANTED = votes(PLAIN, PIXELS)


@pytest.mark.parametrize(
    "rows",
    [
        ROWS,
        ROWS.tolist(),
        torch.from_numpy(ROWS),
        np.asfortranarray(ROWS),
        ROWS.astype(">f8"),
        ROWS.astype(object),
        np.repeat(ROWS, 2, axis=0)[::2],
        ROWS.reshape(30, 1, 5),
        ROWS.reshape(30, 1, 1, 5),
    ],
)
def test_features_become_the_pixels_of_the_quantizer(rows: Any) -> None:
    assert np.array_equal(votes(MODEL, rows), WANTED)


def test_whole_numbers_are_features_too() -> None:
    """Also those that could be pixels: what a model takes does not depend on the type of its numbers."""
    rows = RNG.integers(0, 5, (9, 5), dtype=np.uint8)
    assert np.array_equal(votes(MODEL, rows), votes(PLAIN, QUANTIZER.pixels(rows, 255)))
    assert not np.array_equal(QUANTIZER.pixels(rows, 255), rows)


def test_a_request_of_a_request_quantizes_once() -> None:
    request = InferenceRequest(MODEL, ROWS, 4, 1)
    again = dataclasses.replace(dataclasses.replace(request, samples=3), seed=2)
    for images in (request.pixels, again.pixels, as_images(MODEL, as_images(MODEL, request.pixels))):
        assert images.dtype == np.uint8 and images.shape == (30, 5)
        assert np.array_equal(images[:], PIXELS) and np.array_equal(images[7:9], PIXELS[7:9])


def test_each_row_is_quantized_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def pixels(self: InputQuantizer, rows: np.ndarray, *more: int) -> np.ndarray:
        made.append(len(rows))
        return quantize(self, rows, *more)

    quantize = InputQuantizer.pixels
    monkeypatch.setattr(InputQuantizer, "pixels", pixels)
    assert np.array_equal(votes(MODEL, ROWS), WANTED)
    assert sum(made) == len(ROWS)


def test_devices_see_the_same_pixels() -> None:
    with open_device("golden:16x2") as device:
        device.load(MODEL)
        assert np.array_equal(device.infer(ROWS, 16, 3).votes, WANTED)
        blocks = [ROWS[:10], ROWS[10:11], ROWS[11:11], ROWS[11:]]
        found = np.concatenate([result.votes for result in device.stream(blocks, 16, 3)])
    assert np.array_equal(found, WANTED)


def test_files(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", ROWS)
    assert np.array_equal(votes(MODEL, tmp_path / "x.npy"), WANTED)
    assert np.array_equal(votes(MODEL, str(tmp_path / "x.npy")), WANTED)


def test_a_frame_goes_by_its_names() -> None:
    pandas = pytest.importorskip("pandas")
    colour = RNG.integers(0, 2, 30)
    rows = np.column_stack([ROWS[:, :2], colour == 0, colour == 1, ROWS[:, 4]])
    frame = pandas.DataFrame(
        {
            "age": ROWS[:, 0],
            "dose": ROWS[:, 1],
            "colour": np.array(["blue", "red"])[colour],
            "time": ROWS[:, 4],
        }
    )
    wanted = votes(MODEL, rows)
    for names in (["age", "dose", "colour", "time"], ["time", "colour", "age", "dose"]):
        assert np.array_equal(votes(MODEL, frame[names]), wanted)
    assert np.array_equal(votes(MODEL, frame.assign(kind="?")), wanted)  # the column of labels, unread
    assert votes(MODEL, frame[:0]).shape == (0, 3) and np.array_equal(votes(MODEL, frame[:1]), wanted[:1])
    for changed, words in (
        (frame.drop(columns="dose"), "the table lacks the column dose"),
        (frame.assign(size=1), "the table has the column size, which the model does not know"),
        (
            frame.assign(colour="green"),
            "row 0 (from 0), column colour is 'green', none of its categories blue, red",
        ),
        (frame.assign(colour=1), "row 0 (from 0), column colour is 1, where a category is wanted"),
        (frame.assign(dose="high"), "row 0 (from 0), column dose is 'high', where a number is wanted"),
        (frame.assign(dose=np.nan), "row 0 (from 0), column dose has no value"),
        (frame.assign(dose=np.inf), "row 0 (from 0), column dose is inf: a feature is a finite number"),
    ):
        with pytest.raises(SynflipError, match=re.escape(words)):
            InferenceRequest(MODEL, changed, 4, 1)


def put(row: int, column: int, value: float) -> np.ndarray:
    rows = ROWS.copy()
    rows[row, column] = value
    return rows


def put_object(row: int, column: int, value: object) -> np.ndarray:
    rows = ROWS.astype(object)
    rows[row, column] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (put(4, 1, np.nan), "row 4 (from 0), column dose is nan: a feature is a finite number"),
        (put(29, 3, -np.inf), "row 29 (from 0), column colour = red is -inf"),
        (ROWS[:, :4], "images have shape [30, 4], not [N, 5]"),
        (ROWS[0], "images have shape [5], not [N, 5] or [N, 1, 5]: one image is images.reshape(1, -1)"),
        (ROWS.T, "images have shape [5, 30], not [N, 5]"),
        (ROWS.astype(str), "images: row 0 (from 0), column 0 is '"),
        (ROWS * 1j, "images hold complex numbers"),
        (put_object(7, 2, "a"), "images: row 7 (from 0), column 2 is 'a', not a number"),
        ((row for row in ROWS), "images are an iterator (generator), not an array: give list(images)"),
        (None, "images must be an array of numbers, not None"),
    ],
)
def test_what_no_device_could_answer_is_refused_at_once(rows: Any, words: str) -> None:
    with pytest.raises(SynflipError, match=re.escape(words)) as error:
        InferenceRequest(MODEL, rows, 4, 1)
    assert "\n" not in str(error.value)


def test_a_number_that_is_not_finite_is_found_in_any_block() -> None:
    rows = np.zeros((40_000, 5), dtype=np.float32)
    rows[39_999, 4] = np.nan
    with pytest.raises(SynflipError, match=r"row 39999 \(from 0\), column time is nan"):
        InferenceRequest(MODEL, rows, 1, 1)


def test_a_model_of_pixels_refuses_features_as_before() -> None:
    with pytest.raises(SynflipError, match="not an integer in 0"):
        InferenceRequest(PLAIN, ROWS, 4, 1)
