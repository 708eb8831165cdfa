"""Parts of an inference: put together they are the whole, to the bit; what is no part of it is refused."""

import io
import json
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synflip import modelfile
from synflip.cli import app
from synflip.data.image_file import ImageFile, open_images
from synflip.errors import SynflipError
from synflip.inference.shards import MAX_ARRAY_BYTES, Part, parse_shards, read_part

from tests.networks import random_model

RUN = ("run", "m.safetensors", "--images", "x.npy", "--seed", "7")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modelfile.save(random_model(), tmp_path / "m.safetensors")
    np.save(tmp_path / "x.npy", np.random.default_rng(2).integers(0, 256, (7, 12)).astype(np.uint8))
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> None:
    assert app.main([*RUN, *arguments]) == 0


def parts(count: int, samples: int = 11, *more: str) -> list[str]:
    names = [f"r{index}.npz" for index in range(1, count + 1)]
    for index, name in enumerate(names, 1):
        run("--samples", str(samples), "--shards", f"{index}/{count}", "--out", name, *more)
    return names


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert app.main(arguments) != 0
    _, error = capsys.readouterr()
    assert error.startswith("error: ") and error.count("\n") == 1
    return error


@pytest.mark.parametrize(
    ("device", "count"),
    [("golden", 1), ("golden", 2), ("golden", 5), ("golden", 11), ("verilator", 2), ("verilator", 5)],
)
def test_parts_are_the_whole(device: str, count: int) -> None:
    more = ("--logits", "--device", device, "--geometry", "16x2")
    run("--samples", "11", "--out", "whole.npz", *more)
    names = parts(count, 11, *more)
    assert app.main(["merge", *reversed(names), "--out", "merged.npz"]) == 0
    with np.load("whole.npz") as whole, np.load("merged.npz") as merged:
        assert whole.files == merged.files
        for name in ("votes", "logit_sums", "used", "logits"):
            assert whole[name].dtype == merged[name].dtype
            assert np.array_equal(whole[name], merged[name]), name
        assert merged["cycles"] == sum(int(read_part(Path(name))[1]["cycles"]) for name in names)


def test_samples_are_dealt_without_gap() -> None:
    for samples, count in ((11, 4), (3, 3), ((1 << 31) - 1, 1000)):
        cuts = [Part(index, count, samples, 0, "", "") for index in range(1, count + 1)]
        assert cuts[0].first == 0 and cuts[-1].past == samples
        assert all(one.past == other.first for one, other in pairwise(cuts))
        assert all(one.past > one.first for one in cuts)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/2/3", "-1/2", "a/b", "1/0", "1/9999999999"])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(SynflipError, match="is not I/N"):
        parse_shards(text, 100)


def test_more_parts_than_samples_and_early_stopping_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    shards = (*RUN, "--out", "r.npz", "--shards", "1/3")
    assert "2 samples cannot be cut into 3 parts" in fails(capsys, *shards, "--samples", "2")
    assert "--shards goes without --margin" in fails(capsys, *shards, "--margin", "2")


def test_parts_of_other_inferences_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    one, _ = parts(2)

    def refused(*others: str) -> str:
        return fails(capsys, "merge", *others, "--out", "r.npz")

    assert "part 2/2 is missing" in refused(one)
    assert "r1.npz and r1.npz are both part 1/2" in refused(one, one)
    second = ("--samples", "11", "--shards", "2/2", "--out", "other.npz")
    run(*second, "--seed", "8")
    assert "seed: 7, 8" in refused(one, "other.npz")
    run("--samples", "12", "--shards", "2/2", "--out", "other.npz")
    assert "network samples: 11, 12" in refused(one, "other.npz")
    run("--samples", "11", "--shards", "2/3", "--out", "other.npz")
    assert "number of parts: 2, 3" in refused(one, "other.npz")
    run(*second, "--logits")
    assert "logits or soft votes are in one of them only" in refused(one, "other.npz")
    modelfile.save(random_model(bits=3), "m.safetensors")
    run(*second)
    assert "digest of the model" in refused(one, "other.npz")
    modelfile.save(random_model(), "m.safetensors")
    np.save("x.npy", np.zeros((7, 12), dtype=np.uint8))
    run(*second)
    assert "digest of the images" in refused(one, "other.npz")
    assert not Path("r.npz").exists()


def with_array(name: str, content: bytes | None, source: str = "r1.npz", to: str = "bad.npz") -> None:
    """A part with another array in place of one of its own; None takes it away."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            if info.filename != f"{name}.npy":
                new.writestr(info.filename, old.read(info))
        if content is not None:
            new.writestr(f"{name}.npy", content)


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_hostile_parts_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    parts(2)
    part = json.loads(read_array("part").tobytes())

    def refused() -> str:
        return fails(capsys, "merge", "bad.npz", "--out", "r.npz")

    def said(**fields: Any) -> bytes:
        return npy(np.frombuffer(json.dumps(part | fields).encode(), dtype=np.uint8))

    good = npy(np.zeros((7, 5), dtype=np.int32))
    room = MAX_ARRAY_BYTES // 16
    huge = good.replace(b"(7, 5), }" + b" " * (len(str(room)) - 1), b"(%d, 5), }" % room)
    for name, content, words in (
        ("votes", None, "votes is missing"),
        ("extra", good, "extra is not of a part"),
        ("votes", npy(np.zeros((7, 5))), "holds float64 [7, 5]"),
        ("votes", npy(np.zeros((7, 4), np.int32)), "logit_sums has shape [7, 5], not [7, 4]"),
        ("votes", good[:-4], "does not have the 140 bytes"),
        ("votes", huge, "at most 1073741824 are read"),
        ("votes", npy(np.array([[None]])), "holds object"),
        ("used", npy(np.full(7, 3, np.int32)), "did not all take part"),
        ("part", None, "does not say which part it is"),
        ("part", said(index=3), "part 3/2"),
        ("part", said(seed="1"), "seed of the part is '1'"),
        ("part", said(model="../x"), "model of the part"),
        ("part", said(samples=1 << 40), f"of {1 << 40} samples"),
        ("part", said(more=1), "does not say which part"),
        ("part", npy(np.zeros(9999, np.uint8)), "at most 4096 are read"),
    ):
        with_array(name, content)
        assert words in refused(), (name, words)
    Path("bad.npz").write_bytes(b"PK\x03\x04 no zip")
    assert "is not a part of an inference" in refused()
    run("--out", "bad.npz")
    assert "does not say which part it is (synflip run --shards writes parts)" in refused()
    Path("bad.npz").unlink()
    assert "cannot read bad.npz" in refused()


def read_array(name: str) -> np.ndarray:
    with np.load("r1.npz") as file:
        return file[name]


@pytest.fixture
def left_in_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synflip.data.image_file.SMALL_BYTES", 7 * 12 - 1)


def test_few_images_are_an_array() -> None:
    assert isinstance(open_images("x.npy"), np.ndarray)


def test_images_stay_in_their_file(left_in_file: None) -> None:
    pixels = np.load("x.npy")
    images = open_images("x.npy")
    assert isinstance(images, ImageFile)
    assert (len(images), images.shape, images.dtype) == (7, (7, 12), np.uint8)
    assert np.array_equal(images[2:5], pixels[2:5]) and np.array_equal(images[5:99], pixels[5:])
    assert images[7:9].shape == (0, 12)
    Path("x.npy").write_bytes(Path("x.npy").read_bytes()[:-1])
    with pytest.raises(SynflipError, match=r"x\.npy was cut while it was read: images 6\.\.6 are gone"):
        images[6:7]


def test_images_in_fortran_order_are_the_same(left_in_file: None) -> None:
    pixels = np.load("x.npy")
    np.save("f.npy", np.asfortranarray(pixels))
    assert np.array_equal(open_images("f.npy")[0:7], pixels)


def test_many_images_are_read_block_by_block(left_in_file: None, monkeypatch: pytest.MonkeyPatch) -> None:
    run("--out", "whole.npz")
    sizes = []
    read = ImageFile.__getitem__

    def counting(self: ImageFile, part: slice) -> np.ndarray:
        sizes.append(len(found := read(self, part)))
        return found

    monkeypatch.setattr(ImageFile, "__getitem__", counting)
    monkeypatch.setattr("synflip.golden.cpu.images_at_once", lambda width: 4)
    monkeypatch.setattr("synflip.spec.model.IMAGES_AT_ONCE", 3)
    run("--out", "blocks.npz", "--geometry", "64x8,image_slots=2")
    assert sizes == [3, 3, 1, 4, 3]  # checked once, then run
    with np.load("whole.npz") as whole, np.load("blocks.npz") as blocks:
        assert np.array_equal(whole["logit_sums"], blocks["logit_sums"])


def test_a_pixel_out_of_range_is_named_whatever_its_block(
    left_in_file: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model()
    object.__setattr__(model, "input_max", 15)
    modelfile.save(model, "m.safetensors")
    pixels = np.zeros((7, 12), dtype=np.uint8)
    pixels[6, 3] = 16
    np.save("x.npy", pixels)
    monkeypatch.setattr("synflip.spec.model.IMAGES_AT_ONCE", 4)
    assert "pixel 3 of image 6 is 16; this model takes 0..15" in fails(capsys, *RUN, "--out", "r.npz")
