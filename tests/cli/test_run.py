"""The command run: what it writes, what it says, what it refuses, how it stops."""

import dataclasses
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import synflip
from synflip import modelfile
from synflip.cli import app
from synflip.devices import registry
from synflip.golden.cpu import Golden
from synflip.inference.device import Device
from synflip.inference.request import MAX_LOGIT_BYTES, InferenceRequest, Progress
from synflip.inference.result import Result

from tests.cli.helpers import fails, in_process
from tests.networks import random_model


def test_run_writes_what_the_device_gives(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "run",
        "m.safetensors",
        "--images",
        "x.npy",
        "--samples",
        "6",
        "--seed",
        "3",
        "--out",
        "r.npz",
    ]
    assert app.main([*arguments, "--logits", "--device", "golden", "--geometry", "32x4"]) == 0
    captured = capsys.readouterr()
    assert "7 x 6" in captured.out
    assert captured.err == ""
    with synflip.open_device("golden", synflip.Geometry(32, 4)) as golden:
        golden.load(random_model())
        expected = golden.infer(np.load("x.npy"), 6, 3, logits=True)
    with np.load("r.npz") as counts:
        assert {name: counts[name].dtype.name for name in counts} == {
            "votes": "int32",
            "logit_sums": "int64",
            "used": "int32",
            "cycles": "int64",
            "logits": "int32",
        }
        assert (counts["votes"] == expected.votes).all()
        assert (counts["logit_sums"] == expected.logit_sums).all()
        assert (counts["logits"] == expected.logits).all()
        assert (counts["used"] == 6).all()
        assert counts["cycles"] == expected.cycles
    assert app.main(arguments) == 0
    with np.load("r.npz") as counts:
        assert set(counts) == {"votes", "logit_sums", "used", "cycles"}
        assert (counts["votes"] == expected.votes).all()


def test_run_and_verify_with_soft_votes(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = dataclasses.replace(random_model(), source={"logit_scale": 40.0})
    modelfile.save(model, Path("soft.safetensors"))
    arguments = ["soft.safetensors", "--images", "x.npy", "--samples", "6", "--seed", "3", "--soft"]
    assert app.main(["run", *arguments, "--out", "r.npz"]) == 0
    have = Result.load("r.npz")
    assert have.logits is None and have.soft_votes is not None and have.logit_scale == 40.0
    for part in ("1/2", "2/2"):
        assert app.main(["run", *arguments, "--shards", part, "--out", f"r{part[0]}.npz"]) == 0
    assert app.main(["merge", "r1.npz", "r2.npz", "--out", "whole.npz"]) == 0
    assert (Result.load("whole.npz").posterior == have.posterior).all()
    capsys.readouterr()
    assert app.main(["verify", *arguments, "--device", "golden"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "soft votes 0 of 35 differ" in text and "energy sums 0 of 7 differ" in text
    common = ("run", "m.safetensors", "--images", "x.npy", "--out", "r.npz", "--soft")
    assert "soft votes need the scale of the logits" in fails(capsys, *common)


def test_run_stops_early(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "m.safetensors", "--images", "x.npy", "--samples", "30", "--out", "r.npz", "--margin"]
    assert app.main([*arguments, "2"]) == 0
    with np.load("r.npz") as counts:
        used, votes = counts["used"], np.sort(counts["votes"], axis=1)
    assert used.min() == 2
    done = used < 30
    assert (votes[done, -1] - votes[done, -2] == 2).all()
    assert app.main([*arguments, str(10**30)]) == 0  # a margin that nobody reaches, whatever its size
    with np.load("r.npz") as counts:
        assert (counts["used"] == 30).all()


def test_run_says_why_cycles_are_missing(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "m.safetensors", "--images", "x.npy", "--out", "r.npz", "--margin", "2"]
    short = [*arguments, "--samples", "30", "--device"]
    assert app.main([*short, "golden:64x8,margin_depth=9,devices=5"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "not predicted: early stopping needs all 30 samples in one run" in text
    assert app.main([*short, "golden:64x8,margin_depth=9"]) == 0
    assert "not predicted" not in capsys.readouterr().out
    modelfile.save(random_model((33, 4, 4)), "deep.safetensors")
    np.save("deep.npy", np.ones((1, 33), dtype=np.uint8))
    deep = ["run", "deep.safetensors", "--images", "deep.npy", "--out", "r.npz"]
    assert app.main([*deep, "--device", "golden:16x1,layer_depth=1,result_depth=3,log_depth=3"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "not predicted: the model (33-4-4) does not fit the 16x1 accelerator, not even in parts" in text


@pytest.mark.parametrize("device", ["golden", "golden:16x1"])
def test_the_golden_models_cycles_are_predicted(
    files: Path, capsys: pytest.CaptureFixture[str], device: str
) -> None:
    command = ["run", "m.safetensors", "--images", "x.npy", "--samples", "2", "--out", "r.npz"]
    assert app.main([*command, "--device", device]) == 0
    text = capsys.readouterr().out
    assert "predicted" in text and "counted" not in text
    assert f"on golden, {'16x1' if ':' in device else '64x8'}, seed" in text


def test_run_says_how_busy_the_engine_was(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the cycles that a simulated clock has run since the model was loaded."""

    class Clocked(Golden):
        """Its clock makes two cycles for each of the engine's."""

        cycles = 10**9

        def clock_cycles(self) -> int:
            return self.cycles

        def run(self, request: InferenceRequest, progress: Progress | None = None) -> Result:
            result = super().run(request, progress)
            self.cycles += 2 * result.cycles
            return result

    monkeypatch.setattr(registry, "open_device", lambda name, geometry: Clocked(geometry))
    arguments = ["run", "m.safetensors", "--images", "x.npy", "--samples", "5", "--out", "r.npz"]
    assert app.main(arguments) == 0
    cycles = 2 * int(np.load("r.npz")["cycles"])
    text = " ".join(capsys.readouterr().out.split())
    assert f"engine busy 50.0% of {cycles:,} cycles" in text


def bad_image_files() -> dict[str, tuple[bytes, str]]:
    """Name -> what is in the file, and what must be said of it."""

    def npy(array: np.ndarray, pickle: bool = False) -> bytes:
        path = Path("made.npy")
        np.save(path, array, allow_pickle=pickle)
        return path.read_bytes()

    good = npy(np.zeros((3, 12), dtype=np.uint8))
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (%b), }\n"

    def with_shape(shape: bytes) -> bytes:
        text = header % shape
        return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text

    return {
        "empty": (b"", "is not a .npy file"),
        "text": (b"hello, this is no array", "is not a .npy file"),
        "cut header": (good[:20], "is not a .npy file"),
        "cut pixels": (good[:-1], "its shape [3, 12] needs 36"),
        "too many pixels": (good + b"\0", "its shape [3, 12] needs 36"),
        "huge": (with_shape(b"1000000000000, 1000000000000"), "needs 1000000000000000000000000"),
        "negative": (with_shape(b"-1, -12"), "there is nothing in it"),
        "header is code": (with_shape(b"__import__('os').abort(), 1"), "is not a .npy file"),
        "deep": (with_shape(b"(" * 9000), "is not a .npy file"),
        "version": (b"\x93NUMPY\x02\x00" + (1 << 31).to_bytes(4, "little") + b"x" * 99, "format 2.0"),
        "float": (npy(np.zeros((3, 12))), "holds float64; images are uint8"),
        "object": (npy(np.array([[None]]), pickle=True), "holds object; images are uint8"),
        "3-D": (npy(np.zeros((3, 3, 4), dtype=np.uint8)), "has shape [3, 3, 4]; images are [N, I]"),
        "no images": (npy(np.zeros((0, 12), dtype=np.uint8)), "there is nothing in it"),
        "narrow": (npy(np.zeros((3, 11), dtype=np.uint8)), "wants [N, 12]"),
    }


def test_bad_images_are_one_line(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, (content, reason) in bad_image_files().items():
        Path("bad.npy").write_bytes(content)
        line = fails(capsys, "run", "m.safetensors", "--images", "bad.npy", "--out", "r.npz")
        assert reason in line, name
        assert not Path("r.npz").exists()


def test_a_large_image_file_is_not_read(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("bad.npy", np.zeros((2, 12), dtype=np.uint8, order="F"))
    header = Path("bad.npy").read_bytes()[:128].replace(b"(2, 12), }          ", b"(91625968981, 12), }")
    with open("bad.npy", "wb") as file:
        file.write(header)
        file.truncate(len(header) + 91625968981 * 12)
    assert "split them" in fails(capsys, "run", "m.safetensors", "--images", "bad.npy", "--out", "r.npz")


def test_images_in_column_order(files: Path) -> None:
    pixels = np.load("x.npy")
    for name, images in (("c.npy", pixels), ("f.npy", np.asfortranarray(pixels))):
        np.save(name, images)
        assert app.main(["run", "m.safetensors", "--images", name, "--out", name + ".npz"]) == 0
    with np.load("c.npy.npz") as first, np.load("f.npy.npz") as second:
        assert (first["votes"] == second["votes"]).all()


def test_images_with_the_axes_of_the_data(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model that was trained on digits knows that its images are 8x8."""
    model = dataclasses.replace(random_model((64, 10)), source={"data": "digits"})
    modelfile.save(model, "digits.safetensors")
    pixels = np.random.default_rng(0).integers(0, model.input_max + 1, (3, 64), np.uint8)
    arguments = ["run", "digits.safetensors", "--images", "i.npy", "--out", "r.npz"]
    votes = []
    for shape in ((3, 64), (3, 8, 8), (3, 1, 8, 8)):
        np.save("i.npy", pixels.reshape(shape))
        assert app.main(arguments) == 0
        with np.load("r.npz") as result:
            votes.append(result["votes"].tolist())
    assert votes[0] == votes[1] == votes[2]
    np.save("i.npy", pixels / model.input_max)
    assert f"multiply by {model.input_max} and round" in fails(capsys, *arguments)
    np.save("i.npy", pixels[0].reshape(8, 8))
    assert "one image is saved as pixels.reshape(1, -1)" in fails(capsys, *arguments)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": "none.safetensors"}, "cannot read none.safetensors: No such file"),
        ({"model": "x.npy"}, "x.npy: not a safetensors file"),
        ({"model": "."}, "cannot read ."),
        ({"--images": "none.npy"}, "none.npy is missing"),
        ({"--images": "."}, ". is not a file"),
        ({"--out": "."}, "it is a folder"),
        ({"--out": "x.npy/r.npz"}, "cannot make the folder x.npy"),
        ({"--geometry": "64"}, "geometry '64' is not LANESxBANKS, such as 64x8"),
        ({"--geometry": "64x8,bits=2,bits=4"}, "geometry '64x8,bits=2,bits=4' says bits twice"),
        ({"--geometry": "24x8"}, "lanes must be a multiple of 16 in 16..128, not 24"),
        ({"--geometry": "64x3"}, "banks must be 1, 2, 4 or 8, not 3"),
        ({"--samples": str(1 << 31)}, "samples must be in 1..2**31-1, not 2147483648"),
        ({"--seed": str(1 << 64)}, "the seed must be in 0..2**64-1, not 18446744073709551616"),
    ],
)
def test_errors_of_run(
    files: Path, capsys: pytest.CaptureFixture[str], change: dict[str, str], reason: str
) -> None:
    options = {"model": "m.safetensors", "--images": "x.npy", "--out": "r.npz"} | change
    model = options.pop("model")
    line = fails(capsys, "run", model, *(part for option in options.items() for part in option))
    assert reason in line
    assert not list(files.glob("*.partial"))
    assert not Path("r.npz").exists()


def test_logits_that_would_not_fit_in_memory(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = MAX_LOGIT_BYTES // (4 * 7 * 5) + 1
    common = ("m.safetensors", "--images", "x.npy", "--samples", str(samples))
    assert "take fewer images or samples" in fails(capsys, "run", *common, "--logits", "--out", "r.npz")
    assert "take fewer images or samples" in fails(capsys, "verify", *common)


def test_a_failed_write_leaves_the_old_file(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("r.npz").write_text("old")

    def full(file: BinaryIO, **arrays: object) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    line = fails(capsys, "run", "m.safetensors", "--images", "x.npy", "--out", "r.npz")
    assert line == "error: cannot write r.npz: No space left on device"
    assert Path("r.npz").read_text() == "old"
    assert not list(files.glob("*.partial"))


def test_interrupt_is_one_line_and_status_130(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(name: str, geometry: synflip.Geometry) -> Device:
        raise KeyboardInterrupt

    monkeypatch.setattr(registry, "open_device", interrupted)
    line = fails(capsys, "run", "m.safetensors", "--images", "x.npy", "--out", "r.npz", status=130)
    assert line == "error: interrupted"


def test_interrupt_of_a_process_at_work(files: Path) -> None:
    code = """
import os, signal, sys
from contextlib import contextmanager
from synflip.cli import app
from synflip.util import progress

@contextmanager
def interrupting(what):
    yield lambda done, total: os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores it
progress.bar = interrupting
sys.exit(app.main(["run", "m.safetensors", "--images", "x.npy", "--out", "r.npz"]))
"""
    done = in_process("-c", code)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: interrupted\n")
    assert sorted(path.name for path in files.iterdir()) == ["m.safetensors", "x.npy"]


def test_a_long_list_of_margins_is_no_file(files: Path) -> None:
    """200 numbers are longer than a name of a file may be."""
    margins = ",".join(["9"] * 200)
    words = ["run", "m.safetensors", "--images", "x.npy", "--samples", "200", "--out", "r.npz"]
    assert app.main([*words, "--margins", margins]) == 0
    assert app.main([*words[:-1], "one.npz", "--margin", "9"]) == 0
    listed, one = (Result.load(name) for name in ("r.npz", "one.npz"))
    assert np.array_equal(listed.used, one.used) and (one.used < 200).any()
