"""The command line: what it writes, what it says, and one line for every error."""

import importlib.metadata
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

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
from synflip.spec.model import CompiledModel, Layer

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "demo",
    "train",
    "run",
    "verify",
    "fuzz",
    "verilog",
    "map",
    "netlist",
    "images",
    "simulate",
    "selftest",
    "coins",
    "coin-cost",
    "calibrate",
    "rates",
    "info",
    "merge",
    "bench",
)


def random_model(sizes: tuple[int, ...] = (12, 20, 5), bits: int = 4) -> CompiledModel:
    rng = np.random.default_rng(1)
    layers = tuple(
        Layer(
            q=rng.integers(0, 1 << bits, (outputs, rows)).astype(np.uint16),
            sign=rng.integers(0, 2, (outputs, rows)).astype(np.uint8),
            bias=rng.integers(-50, 50, outputs).astype(np.int32),
        )
        for rows, outputs in pairwise(sizes)
    )
    classes = tuple(f"class {index}" for index in range(sizes[-1]))
    return CompiledModel(layers, bits, 8, (2,) * (len(layers) - 1), classes, 255, {"data": "random"})


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, which is the working one, with a model m.safetensors and images x.npy: uint8 [7, 12]."""
    modelfile.save(random_model(), tmp_path / "m.safetensors")
    np.save(tmp_path / "x.npy", np.random.default_rng(2).integers(0, 256, (7, 12)).astype(np.uint8))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def fails(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 1) -> str:
    """Run a command that must fail with one line on stderr; the line."""
    assert app.main(arguments) == status
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("error: ")
    assert "Traceback" not in captured.out + captured.err
    return lines[0]


def in_process(*arguments: str, **other) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120, **other)


# Help and version


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main([command, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"synflip {command}" in text
    assert "Example:" in text


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f" {command} " in text for command in COMMANDS)
    assert app.main([]) == 0
    assert "Commands" in capsys.readouterr().out


def test_version_is_the_one_of_the_project(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["--version"]) == 0
    assert capsys.readouterr().out == f"synflip {synflip.__version__}\n"
    assert synflip.__version__ == importlib.metadata.version("synflip")


def test_import_and_help_are_light() -> None:
    heavy = "{'torch', 'numpy', 'matplotlib', 'sklearn', 'amaranth'} & set(sys.modules)"
    for code in (
        f"import sys, synflip; print({heavy})",
        f"import sys, synflip.cli.app; synflip.cli.app.main(['--help']); print({heavy})",
    ):
        done = in_process("-c", code)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "set()"


def test_lazy_attributes() -> None:
    done = in_process(
        "-c", "import sys, synflip; synflip.load, synflip.Geometry; print('torch' in sys.modules)"
    )
    assert done.stdout == "False\n", done.stderr
    for name in synflip.__all__:
        assert getattr(synflip, name) is not None
        assert name in dir(synflip)
    assert synflip.open_device is registry.open_device
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        synflip.nothing  # noqa: B018


# run


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
    modelfile.save(random_model((33000, 4)), "wide.safetensors")
    np.save("wide.npy", np.ones((1, 33000), dtype=np.uint8))
    assert app.main(["run", "wide.safetensors", "--images", "wide.npy", "--out", "r.npz"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "not predicted: the model (33000-4) does not fit the 64x8 accelerator: it needs" in text


# verify


def test_verify_golden_against_golden(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["verify", "m.safetensors", "--images", "x.npy", "--samples", "5", "--device", "golden"]
    assert app.main(arguments) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "logits 0 of 175 differ" in text
    assert "votes 0 of 35 differ" in text
    assert "used 0 of 7 differ" in text
    assert "verdict equal" in text
    assert app.main([*arguments, "--margin", "2"]) == 0


class Faulty(Golden):
    """The golden model with one number wrong."""

    name = "verilator"

    def __init__(self, geometry: synflip.Geometry, quantity: str, at: tuple[int, ...]) -> None:
        super().__init__(geometry)
        self.quantity, self.at = quantity, at

    def run(self, request: InferenceRequest, progress: Progress | None = None) -> Result:
        result = super().run(request, progress)
        if self.quantity == "cycles":
            return replace(result, cycles=result.cycles + 1)
        getattr(result, self.quantity)[self.at] += 1
        return result


@pytest.mark.parametrize(
    ("quantity", "at", "place"),
    [
        ("logits", (3, 5, 1), "logits: sample 3, image 5, class 1,"),
        ("votes", (6, 4), "votes: image 6, class 4,"),
        ("logit_sums", (0, 2), "logit sums: image 0, class 2,"),
        ("used", (2,), "used: image 2,"),
        ("cycles", (), "cycles:"),
    ],
)
def test_verify_prints_the_first_difference(
    files: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    quantity: str,
    at: tuple[int, ...],
    place: str,
) -> None:
    def open_faulty(name: str, geometry: synflip.Geometry) -> Device:
        return Golden(geometry) if name == "golden" else Faulty(geometry, quantity, at)

    monkeypatch.setattr(registry, "open_device", open_faulty)
    line = fails(capsys, "verify", "m.safetensors", "--images", "x.npy", "--samples", "5")
    match = re.fullmatch(rf"error: first difference: {place} golden (-?\d+), verilator (-?\d+)", line)
    assert match, line
    assert int(match[2]) == int(match[1]) + 1


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


# Errors


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


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": "none.safetensors"}, "cannot read none.safetensors: No such file"),
        ({"model": "x.npy"}, "x.npy: not a safetensors file"),
        ({"model": "."}, "cannot read ."),
        ({"--images": "none.npy"}, "none.npy is missing"),
        ({"--images": "."}, ". is not a file"),
        ({"--out": "."}, "it is a folder"),
        ({"--out": "none/r.npz"}, "there is no folder none"),
        ({"--geometry": "64"}, "geometry '64' is not LANESxBANKS, such as 64x8"),
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


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            ["train", "--hidden", "64,x", "--out", "t.safetensors"],
            "--hidden '64,x' is not a list of layer sizes",
        ),
        (["train", "--hidden", "4096", "--out", "t.safetensors"], "4096"),
        (["train", "--hidden", "8", "--bits", "17", "--out", "t.safetensors"], "17"),
        (["train", "--hidden", "8", "--seed", str(1 << 63), "--out", "t.safetensors"], "0..2**63-1"),
        (["train", "--out", "none/t.safetensors"], "there is no folder none"),
        (["verilog", "--geometry", "64x9", "--out", "t.v"], "banks must be 1, 2, 4 or 8, not 9"),
        (["verilog", "--bits", "0", "--out", "t.v"], "bits must be in 1..16, not 0"),
        (["verilog", "--out", "none/t.v"], "there is no folder none"),
        (["map", "--out", "none/t.md"], "there is no folder none"),
        (["images", "digits", "--out", "none/t.npy"], "there is no folder none"),
        (["info", "none.safetensors"], "No such file"),
        (["demo", "--out", "m.safetensors"], "cannot make the folder m.safetensors"),
        (["demo", "--geometry", "8x8"], "lanes must be a multiple of 16"),
    ],
)
def test_errors_of_the_others(
    files: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    assert reason in fails(capsys, *arguments)
    assert not list(files.glob("t.*"))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["fly"], "No such command 'fly'"),
        (["run"], "Missing"),
        (["run", "m.safetensors", "--out", "r.npz"], "--images"),
        (["run", "m.safetensors", "--images", "x.npy", "--out", "r.npz", "--samples", "0"], "--samples"),
        (["run", "m.safetensors", "--images", "x.npy", "--out", "r.npz", "--samples", "x"], "--samples"),
        (["run", "m.safetensors", "--images", "x.npy", "--out", "r.npz", "--device", "abacus"], "abacus"),
        (["run", "m.safetensors", "--images", "x.npy", "--out", "r.npz", "--margin", "0"], "--margin"),
        (["verify", "m.safetensors", "--frobnicate"], "--frobnicate"),
        (["train", "--data", "cats", "--out", "t.safetensors"], "cats"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    files: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    assert reason in fails(capsys, *arguments, status=2)


def test_missing_data_set_is_one_line(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNFLIP_DATA", str(files))
    assert "mnist" in fails(capsys, "images", "mnist", "--out", "t.npy")


def test_a_failed_write_leaves_the_old_file(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("r.npz").write_text("old")

    def full(self: Result, path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Result, "save", full)
    line = fails(capsys, "run", "m.safetensors", "--images", "x.npy", "--out", "r.npz")
    assert line == "error: cannot write r.npz: No space left on device"
    assert Path("r.npz").read_text() == "old"
    assert not list(files.glob("*.partial"))


def test_names_in_files_do_not_reach_the_terminal_raw(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = random_model((4, 2))
    model = CompiledModel(good.layers, 4, 8, (), ("\x1b[2J", "[red]x[/red]"), 255, {"data\x07": "a\nb[bold]"})
    modelfile.save(model, "odd.safetensors")
    assert app.main(["info", "odd.safetensors"]) == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text and "\x07" not in text
    assert "[red]x[/red]" in text and "a b[bold]" in text


# Interruption


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


# The other commands


def test_train_then_info_then_run(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["train", "--hidden", "16", "--epochs", "1", "--out", "t.safetensors"]) == 0
    text = capsys.readouterr().out
    assert "digits, 64-16-10, k = 4, A = 8" in text
    assert "accuracy of the vote of 8" in text
    assert app.main(["images", "digits", "--count", "9", "--out", "t.npy", "--labels", "l.npy"]) == 0
    assert np.load("t.npy").shape == (9, 64)
    assert np.load("l.npy").shape == (9,)
    assert app.main(["info", "t.safetensors"]) == 0
    assert "64-16-10" in capsys.readouterr().out
    assert app.main(["run", "t.safetensors", "--images", "t.npy", "--out", "r.npz"]) == 0
    with np.load("r.npz") as counts:
        assert counts["votes"].sum() == 9 * 16


@pytest.mark.parametrize("features", [[], ["--features", "conv"]])
def test_train_with_teachers(files: Path, features: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", *features, "--hidden", "16", "--epochs", "1", "--teachers", "2"]
    assert app.main([*words, "--out", "t.safetensors"]) == 0
    assert "digits" in capsys.readouterr().out
    assert modelfile.load(Path("t.safetensors")).source["teachers"] == 2


def test_verilog(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["verilog", "--geometry", "16x1", "--bits", "1", "--out", "top.v"]) == 0
    text = Path("top.v").read_text()
    assert "module synflip" in text
    assert "endmodule" in text


def test_verilog_with_axi(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["verilog", "--geometry", "16x1", "--front", "axi", "--out", "top.v"]) == 0
    assert "module synflip_axi(" in Path("top.v").read_text()


@pytest.mark.parametrize(
    ("format", "line"), [("md", "# Memory map"), ("c", "#ifndef SYNFLIP_H"), ("rdl", "addrmap")]
)
def test_map(files: Path, capsys: pytest.CaptureFixture[str], format: str, line: str) -> None:
    assert app.main(["map", "--format", format, "--out", "map.txt"]) == 0
    assert line in Path("map.txt").read_text()


def test_output_to_a_closed_pipe_is_quiet(files: Path) -> None:
    code = "import sys; from synflip.cli.app import main; sys.exit(main(['info', 'm.safetensors']))"
    command = f'{sys.executable} -c "{code}" | true; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
