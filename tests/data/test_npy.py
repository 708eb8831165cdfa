"""Images of ``.npy`` files: shapes that are meant, and advice that is right when it is followed."""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synflip.data.image_file import open_images
from synflip.data.npy import NAMES, read_images
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


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    "names", [("arr_0",), ("pixels",), ("x", "y"), ("labels", "images"), ("x_train", "y_train", "x_test")]
)
def test_images_in_an_archive(
    monkeypatch: pytest.MonkeyPatch, save: Callable[..., None], names: tuple[str, ...]
) -> None:
    """The only array, or the one that is called as images are; a large one is read at once too."""
    monkeypatch.setattr("synflip.data.image_file.SMALL_BYTES", 0)
    wanted = next((name for name in names if name in NAMES), names[0])
    for order in "CF":
        pixels = np.asarray(PIXELS.reshape(5, 3, 4), order=order)  # type: ignore[call-overload]
        save("x.npz", **{name: pixels if name == wanted else PIXELS[:2] + 1 for name in names})
        for read in (read_images, open_images):
            assert np.array_equal(read("x.npz", shape=(3, 4)), PIXELS)


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        (
            {"a": PIXELS, "b": PIXELS},
            "x.npz has the arrays a, b; which are the images? Call one, and no other,",
        ),
        ({"x": PIXELS, "x_test": PIXELS, "y": PIXELS}, "has the arrays x, x_test, y; which are the images?"),
        ({}, "has the arrays none; which are the images?"),
        ({"x": PIXELS / 16, "y": PIXELS}, "x in x.npz holds float64; images are uint8: they are 0..1 and"),
        ({"x": PIXELS[0]}, "x in x.npz has shape [12]; images are [N, I]: one image is saved as"),
        ({"x": PIXELS.astype(object)}, "x in x.npz holds object; images are uint8"),
        ({"x": PIXELS.astype("S0")}, "images are uint8: save an array of integers"),
    ],
)
def test_archives_that_are_refused(arrays: dict[str, Any], expected: str) -> None:
    np.savez("x.npz", **arrays)
    with pytest.raises(SynflipError, match=re.escape(expected)):
        read_images("x.npz")


def archive_of(content: bytes) -> None:
    with zipfile.ZipFile("x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", content)


def test_sizes_in_an_archive_are_checked_before_pixels_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    np.save("x.npy", np.zeros((1 << 10, 1 << 10), np.uint8))
    whole = Path("x.npy").read_bytes()
    archive_of(whole)  # a thousandth of its size
    assert read_images("x.npz").shape == (1 << 10, 1 << 10)
    monkeypatch.setattr("synflip.data.npy.MAX_IMAGE_BYTES", (1 << 20) - 1)
    with pytest.raises(SynflipError, match="has 1048576 bytes of pixels; at most 1048575 are read at once"):
        read_images("x.npz")
    archive_of(whole[:-1])
    with pytest.raises(SynflipError, match=r"x in x\.npz has 1048575 bytes of pixels; its shape"):
        read_images("x.npz")


@pytest.mark.parametrize("count", [5, 2000])  # damage in the header of the array, and behind it
@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_archives_are_one_line(count: int, compression: int) -> None:
    draw = np.random.default_rng(1)
    pixels = draw.integers(0, 17, (count, 12), np.uint8)
    np.save("x.npy", pixels)
    with zipfile.ZipFile("whole.npz", "w", compression) as archive:
        for name in ("x.npy", "é.npy"):
            archive.write("x.npy", name)
    whole = Path("whole.npz").read_bytes()
    refused = 0
    for number in range(300):
        content = bytearray(whole)
        for _ in range(1 + number % 3):
            content[draw.integers(4, len(content))] ^= 1 << draw.integers(8)
        Path("x.npz").write_bytes(content if number % 4 else whole[: draw.integers(4, len(whole))])
        try:
            assert np.array_equal(read_images("x.npz"), pixels)
        except SynflipError as error:
            refused += 1
            assert str(error).isprintable() and "x.npz" in str(error)
    assert 100 < refused < 300
