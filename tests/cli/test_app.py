"""The command line as a whole: help, version, one line for every error."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest
import synflip
from synflip import modelfile
from synflip.cli import app
from synflip.cli.reference import commands, markdown
from synflip.devices import registry
from synflip.spec.model import CompiledModel

from tests.cli.helpers import COMMANDS, fails, in_process
from tests.networks import random_model


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main([command, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"synflip {command}" in text
    assert "Example:" in text


def test_flags_have_no_type_in_help(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ((), *(tuple(words.split()[1:]) for words, _ in commands()), ("report",)):
        assert app.main([*words, "--help"]) == 0
        text = capsys.readouterr().out
        assert "--help" in text and "bool" not in text.lower(), words
    assert "bool" not in markdown().lower()


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


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            ["train", "--hidden", "64,x", "--out", "t.safetensors"],
            "--hidden '64,x' is not a list of layer sizes",
        ),
        (["train", "--hidden", "4096", "--out", "t.safetensors"], "4096"),
        (["train", "--hidden", "8", "--bits", "17", "--out", "t.safetensors"], "17"),
        (
            ["train", "--hidden", "8", "--seed", str(1 << 63), "--out", "t.safetensors"],
            "the seed of a training must be in 0..2**63-1, not 9223372036854775808",
        ),
        (["train", "--seed", "-1", "--out", "t.safetensors"], "training must be in 0..2**63-1, not -1"),
        (["convert", "x.npy", "--seed", "-1", "--out", "t.safetensors"], "must be in 0..2**63-1, not -1"),
        (
            ["train", "--out", "m.safetensors/t.safetensors"],
            "cannot make the folder m.safetensors",
        ),
        (["verilog", "--geometry", "64x9", "--out", "t.v"], "banks must be 1, 2, 4 or 8, not 9"),
        (["verilog", "--bits", "0", "--out", "t.v"], "bits must be in 1..16, not 0"),
        (["verilog", "--out", "m.safetensors/t.v"], "cannot make the folder m.safetensors"),
        (["map", "--out", "m.safetensors/t.md"], "cannot make the folder m.safetensors"),
        (
            ["images", "digits", "--out", "m.safetensors/t.npy"],
            "cannot make the folder m.safetensors",
        ),
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
        (["fuzz", "--minutes", "inf"], "--minutes must be a finite number, not inf"),
        (["calibrate", "--target", "nan"], "--target must be a finite number, not nan"),
        (["rates", "--rate", "2", "--rate", "inf"], "--rate must be a finite number, not inf"),
        (["build", "ulx3s-85f", "--clock", "inf", "--out", "b"], "--clock must be a finite number, not inf"),
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


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_no_memory(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def work(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(modelfile.safetensors, "load", work)
    assert fails(capsys, "info", "m.safetensors").startswith("error: not enough memory; take fewer images")
    error = RuntimeError("a defect")  # which stays one
    with pytest.raises(RuntimeError, match="a defect"):
        app.main(["info", "m.safetensors"])


def test_output_to_a_closed_pipe_is_quiet(files: Path) -> None:
    code = "import sys; from synflip.cli.app import main; sys.exit(main(['info', 'm.safetensors']))"
    command = f'{sys.executable} -c "{code}" | true; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
