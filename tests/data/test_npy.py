"""Images of ``.npy`` files: shapes that are meant, and advice that is right when it is followed."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synflip.data.image_file import open_images
from synflip.data.npy import read_images
from synflip.errors import SynflipError

PIXELS = np.random.default_rng(0).integers(0, 17, (5, 12), np.uint8)
PIXELS[0, :2] = (0, 16)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refusal(array: Any, **known: Any) -> str:
    np.save("x.npy", array, allow_pickle=True)
    messages = set()
    for read in (read_images, open_images):
        with pytest.raises(SynflipError) as caught:
            read("x.npy", **known)
        messages.add(str(caught.value))
    (message,) = messages
    assert "\n" not in message
    return message


@pytest.mark.parametrize("shape", [(5, 12), (5, 3, 4), (5, 1, 3, 4), (5, 3, 4, 1)])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("known", [(3, 4), (1, 3, 4)])
@pytest.mark.parametrize("small", [0, 1 << 20])
def test_shapes_of_images_that_are_known(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], order: str, known: tuple[int, ...], small: int
) -> None:
    monkeypatch.setattr("synflip.data.image_file.SMALL_BYTES", small)
    np.save("x.npy", np.asarray(PIXELS.reshape(shape), order=order))  # type: ignore[call-overload]
    images = open_images("x.npy", shape=known)
    assert images.shape == (5, 12) and np.array_equal(images[1:4], PIXELS[1:4])
    assert np.array_equal(read_images("x.npy", shape=known), PIXELS)


def test_colour_and_one_image() -> None:
    colour = np.arange(2 * 3 * 5 * 4, dtype=np.uint8).reshape(2, 3, 5, 4)
    np.save("x.npy", colour)
    assert np.array_equal(read_images("x.npy", shape=(3, 5, 4)), colour.reshape(2, -1))
    message = refusal(colour.transpose(0, 2, 3, 1), shape=(3, 5, 4))
    assert "channels come first, save pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)" in message
    # What is advised gives one row.
    for one in (PIXELS[0], PIXELS[0].reshape(3, 4), PIXELS[0].reshape(3, 4, 1)):
        message = refusal(one, shape=(3, 4))
        assert message.endswith(
            "images are [N, 12] or [N, 3, 4]: one image is saved as pixels.reshape(1, -1)"
        )
    assert "one image is saved as pixels.reshape(1, -1)" in refusal(PIXELS[0])
    np.save("x.npy", PIXELS[0].reshape(1, -1))
    assert np.array_equal(read_images("x.npy"), PIXELS[:1])
    np.save("x.npy", PIXELS[:1].reshape(1, 3, 4))
    assert np.array_equal(read_images("x.npy", shape=(3, 4)), PIXELS[:1])


@pytest.mark.parametrize("shape", [(5, 3, 4), (5, 1, 3, 4), (5, 3, 4, 1), (5, 1, 1, 1, 12)])
def test_the_advice_keeps_the_axis_of_images(shape: tuple[int, ...]) -> None:
    assert "save pixels.reshape(len(pixels), -1) if the first axis counts" in refusal(PIXELS.reshape(shape))


@pytest.mark.parametrize(("largest", "factor"), [(None, 255), (16, 16), (255, 255)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ">f4"])
def test_the_advice_for_shares_keeps_the_images(largest: int | None, factor: int, dtype: Any) -> None:
    """What ``astype`` alone makes of them is black."""
    shares = (PIXELS / 16).astype(dtype)
    message = refusal(shares, largest=largest)
    assert message.startswith(f"x.npy holds {np.dtype(dtype)}; images are uint8: they are 0..1 ")
    found = re.search(r"multiply by (\d+) and round, then astype\(np\.uint8\)", message)
    assert found and int(found[1]) == factor
    followed = np.round(shares * factor).astype(np.uint8)
    np.save("x.npy", followed)
    assert np.allclose(read_images("x.npy") / factor, PIXELS / 16, atol=0.5 / factor)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (PIXELS.astype(np.int64), "all are whole numbers that fit, save pixels.astype(np.uint8)"),
        (PIXELS.astype(">i2"), "all are whole numbers that fit, save pixels.astype(np.uint8)"),
        (PIXELS.astype(float), "all are whole numbers that fit, save pixels.astype(np.uint8)"),
        ((PIXELS - 8.0) / 5, "-1.6..1.6 and pixels are integers in 0..255, undo the normalisation, or shift"),
        (PIXELS.astype(int) - 1, "-1..15 and pixels are integers in 0..255, undo the normalisation"),
        (PIXELS.astype(int) * 16, "0..256 and pixels are integers in 0..255, undo the normalisation"),
        (PIXELS / 2, "0..8 and pixels are integers in 0..255, undo the normalisation"),
        (PIXELS > 8, "0..1 and pixels are integers in 0..255, multiply by 255"),
        (np.where(PIXELS == 16, np.nan, PIXELS), "replace what is not finite (nan, inf)"),
        (np.where(PIXELS == 16, -np.inf, PIXELS), "replace what is not finite (nan, inf)"),
        (PIXELS * 1j, "holds complex128; images are uint8: save an array of integers"),
        (PIXELS.astype(str), "images are uint8: save an array of integers"),
        (PIXELS.astype(object), "holds object; images are uint8: save an array of integers"),
    ],
)
def test_advice_that_loses_nothing(array: np.ndarray, expected: str) -> None:
    assert expected in refusal(array)


def test_all_of_a_file_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synflip.data.npy._BLOCK", 7)
    last = PIXELS.astype(float)
    last[-1, -1] = 0.5
    assert "undo the normalisation" in refusal(last)
    np.save("x.npy", last)
    Path("x.npy").write_bytes(Path("x.npy").read_bytes()[:-8])
    with pytest.raises(SynflipError, match=r"save integers in 0\.\.255, as astype"):
        read_images("x.npy")


def test_archives_are_named() -> None:
    np.savez("x.npz", PIXELS)
    with pytest.raises(
        SynflipError, match=r"x\.npz is an archive of arrays \(\.npz\): save the images alone"
    ):
        read_images("x.npz")
