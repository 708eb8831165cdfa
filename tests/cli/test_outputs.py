"""Every command that writes: what cannot be written is said before the work, a refusal leaves nothing, and no
input is destroyed. The commands and their options are typer's own, so that a new command is tried too."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synflip import modelfile
from synflip.cli import app
from synflip.cli.reference import commands
from synflip.experiments.pages.page import html
from synflip.util import progress

from tests.cli.helpers import fails
from tests.networks import random_model

#: Options that name what is written, and arguments and options that name files that are read.
OUTPUTS = {"--out", "--json", "--labels", "--picture", "--pictures"}
INPUTS = {"model", "network", "images", "features", "parts", "data", "outside"}
#: What each command needs, beside its output, to come as far as its work.
NEEDS = {
    "demo": ["--quick"],
    "train": ["--hidden", "8"],
    "convert": ["n.pt2"],
    "info": ["m.safetensors"],
    "run": ["m.safetensors", "--images", "x.npy"],
    "verify": ["m.safetensors", "--images", "x.npy"],
    "merge": ["r1.npz"],
    "images": ["digits"],
    "evaluate": ["m.safetensors", "--data", "digits"],
    "margins": ["m.safetensors", "--images", "x.npy"],
    "report paper": ["--quick"],
    "report opening": ["results.md", "--page", "page.md"],
    "bench": ["--quick", "--only", "engine"],
    "headline": ["build", "--networks", "build"],
    "fuzz": [],
    "verilog": ["--geometry", "16x1"],
    "map": [],
    "netlist": ["--geometry", "16x1"],
    "export-c": ["m.safetensors"],
    "diagram blocks": ["--geometry", "16x1"],
    "diagram pass": ["m.safetensors", "--images", "x.npy", "--geometry", "16x1"],
    "diagram waves": ["w.fst"],
    "build": ["ice40-hx8k"],
    "selftest": ["/dev/nothing"],
    "coins": [],
    "coin-cost": [],
    "calibrate": [],
    "rates": [],
    "boards": ["build"],
    "devices": [],
}
#: Commands whose --out is a folder, and some of what they write into it.
FOLDERS = {
    "demo": ["digits.safetensors", "votes.png"],
    "export-c": ["model.c", "main.c"],
    "evaluate": ["evaluation.json", "evaluation.png"],
    "report paper": ["index.html", "numbers.json"],
    "fuzz": ["failure"],
    "netlist": ["synflip.v", "netlist.v", "cells.json"],
    "build": ["report.json", "synflip.bin", "netlist.stamp.json"],
    "coins": ["coins.md", "coins.png"],
}
WRITERS = [
    (words.removeprefix("synflip "), option)
    for words, command in commands()
    for item in command.params
    for option in item.opts
    if option in OUTPUTS
]


#: What of them names a folder.
IN_FOLDERS = [(name, "--out") for name in FOLDERS]


class Worked(BaseException):
    """The work has begun."""


@pytest.fixture
def idle(files: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of ``files``, where no command works: its bar or spinner ends it."""

    @contextmanager
    def stop(what: str, begins: bool = True) -> Iterator[None]:
        raise Worked
        yield

    def work(*arguments: object) -> None:
        raise Worked

    for name in ("bar", "lines"):  # a build shows its steps in lines where there is no terminal
        monkeypatch.setattr(progress, name, stop)
    monkeypatch.setattr(progress, "waiting", stop)
    monkeypatch.setattr("synflip.cli.demo.train_digits", work)
    monkeypatch.setattr("synflip_hdl.diagrams.block_diagram.block_diagram", work)
    monkeypatch.delenv("SYNFLIP_DATA", raising=False)
    Path("build").mkdir()
    return files


def line(name: str, option: str, path: str) -> list[str]:
    others = {
        "run": "r.npz",
        "images": "y.npy",
        "evaluate": "evaluation",
        "bench": "b.json",
        "coins": "coins",
        "train": "t.safetensors",
        "convert": "t.safetensors",
        "merge": "r.npz",
        "map": "map.md",
        "netlist": "netlist",
        "build": "bitstream",
        "export-c": "c",
        "report paper": "paper",
    }
    required = ["--out", others[name]] if option != "--out" and name in others else []
    if name == "report opening" and option != "--picture":
        required = ["--picture", "opening.png"]
    return [*name.split(), *NEEDS[name], *required, option, path]


def run(arguments: list[str]) -> bool:
    """Whether a command came to its end, or to its work."""
    try:
        return app.main(arguments) == 0
    except Worked:
        return True


def test_every_command_that_writes_is_known() -> None:
    assert {name for name, _ in WRITERS} == set(NEEDS)


@pytest.mark.parametrize(("name", "option"), WRITERS)
@pytest.mark.parametrize(
    ("path", "reason"), [("m.safetensors/x.npy", "cannot make the folder"), ("n" * 300 + ".npy", "too long")]
)
def test_what_cannot_be_written_is_said_before_the_work(
    idle: Path, capsys: pytest.CaptureFixture[str], name: str, option: str, path: str, reason: str
) -> None:
    if name == "boards":
        pytest.skip("it reads reports, then writes: no work in between")
    before = Path("m.safetensors").read_bytes()
    assert reason in fails(capsys, *line(name, option, path))
    assert Path("m.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "option"), [item for item in WRITERS if item[1] != "--pictures" and item not in IN_FOLDERS]
)
def test_the_name_of_a_folder_is_none_of_a_file(
    files: Path, capsys: pytest.CaptureFixture[str], name: str, option: str
) -> None:
    before = sorted(files.rglob("*"))
    for path in ("new/", "m.safetensors/"):
        assert "it is the name of a folder" in fails(capsys, *line(name, option, path))
    assert sorted(files.rglob("*")) == before


@pytest.mark.parametrize("name", [name for name, option in WRITERS if option == "--out"])
def test_missing_folders_are_made_when_they_are_written(
    idle: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = Path("new/sub/x" if name in FOLDERS else "new/sub/x.npy")
    missing = {"convert", "merge", "diagram waves"}  # their inputs are, here
    assert run(line(name, "--out", str(path))) or name in missing
    written = {"images", "map", "export-c", "diagram pass"}  # they show no progress
    assert path.parent.is_dir() is (name in written)


#: What each command that writes refuses: before its work, or in the middle of it.
REFUSED = [
    ("demo", "--quick --geometry 17x1"),
    ("train", "--data broken.npz"),
    ("train", "--data digits --hidden 8 --label x"),
    ("convert", "broken.pt2"),
    ("convert", "broken.onnx --data digits"),
    ("run", "m.safetensors --images broken.npz"),
    ("run", "m.safetensors --images x.npy --device /dev/nothing"),
    ("run", "m.safetensors --images x.npy --geometry 17x1"),
    ("run", "m.safetensors --images x.npy --margins broken.npz"),
    ("run", "m.safetensors --images x.npy --waves new/w.fst"),
    ("merge", "x.npy"),
    ("images", "mnist"),
    ("evaluate", "m.safetensors --data digits"),
    ("evaluate", "m.safetensors --data broken.npz --json new/n.json"),
    ("margins", "m.safetensors --images broken.npz"),
    ("margins", "m.safetensors --data digits"),
    ("report paper", "--quick --only nothing"),
    ("report paper", "--quick --data broken.npz"),
    ("bench", "--quick --only nothing"),
    ("bench", "--quick --only engine --model digits=broken.npz"),
    ("fuzz", "--device /dev/nothing"),
    ("verilog", "--geometry 17x1"),
    ("map", "--json new/x.npy"),
    ("netlist", "--geometry 17x1"),
    ("export-c", "broken.npz"),
    ("diagram blocks", "--geometry 17x1"),
    ("diagram pass", "m.safetensors --images x.npy --image 7"),
    ("diagram waves", "broken.npz"),
    ("build", "ice40-hx8k --geometry 17x1"),
    ("selftest", "golden --json new/sub/" + "n" * 300),  # what fails later is its finding, which is written
    ("coins", "--page none.md"),
    ("coin-cost", "--page none.md"),
    ("calibrate", "--geometry 16x1"),
    ("calibrate", "--device /dev/nothing"),
    ("rates", "--geometry 17x1"),
    ("rates", "--page none.md"),
    ("verify", "m.safetensors --images x.npy --device /dev/nothing"),
    ("info", "broken.npz"),
    ("headline", "empty --networks empty"),
    ("boards", "empty"),
    ("devices", "--json new/sub/" + "n" * 300),
    ("report opening", "x.npy --page x.npy"),
]
#: How a command that has no --out is told where to write.
OTHERS = {
    "report opening": "--picture",
    **dict.fromkeys(["boards", "devices", "headline", "info", "selftest", "verify"], "--json"),
}


def test_a_refusal_of_every_command_is_tried() -> None:
    assert {name for name, _ in REFUSED} == {name for name, _ in WRITERS}
    assert not OTHERS.keys() & {name for name, option in WRITERS if option == "--out"}


@pytest.mark.parametrize(("name", "bad"), REFUSED)
def test_a_refusal_leaves_nothing(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, bad: str
) -> None:
    for file in ("broken.npz", "broken.pt2", "broken.onnx"):
        Path(file).write_bytes(b"broken")
    Path("empty").mkdir()
    monkeypatch.setenv("SYNFLIP_DATA", "empty")
    before = sorted(files.rglob("*"))
    out = "new/sub/x" if name in FOLDERS else "new/x.npy"
    fails(capsys, *name.split(), OTHERS.get(name, "--out"), out, *bad.split())
    assert sorted(files.rglob("*")) == before


def readers() -> Iterator[tuple[str, str]]:
    """Every command with an output and an input that may be a file: its name, the input's."""
    for words, command in commands():
        name = words.removeprefix("synflip ")
        options = [option for item in command.params for option in item.opts if option in OUTPUTS]
        if not options or name == "bench":  # its networks are NAME=FILE
            continue
        for item in command.params:
            if item.name in INPUTS and item.type_descriptor.annotation in (Path, list[Path], str):
                yield name, item.name


READERS = list(readers())


def reading(name: str, what: str, path: str, out: str) -> list[str]:
    """The line of a command that reads ``path`` as its input ``what`` and writes ``out``."""
    option = "--out" if (name, "--out") in WRITERS else next(o for n, o in WRITERS if n == name)
    words = line(name, option, out)
    if (name, what) == ("margins", "data"):  # or --images
        words = [word for word in words if word not in ("--images", "x.npy")]
    return [*words, *([f"--{what}", path] if what in ("features", "data", "outside") else [])]


@pytest.mark.parametrize(("name", "what"), READERS)
def test_no_input_is_destroyed(idle: Path, capsys: pytest.CaptureFixture[str], name: str, what: str) -> None:
    paths = {"model": "m.safetensors", "network": "n.pt2", "images": "x.npy", "features": "f.pt2"}
    paths |= {"parts": "r1.npz", "data": "d.npz", "outside": "d.npz"}
    path = Path(paths[what])
    if not path.exists():
        path.write_bytes(b"mine")
    before = path.read_bytes()
    if name in FOLDERS:
        Path(FOLDERS[name][0]).hardlink_to(path)
        out = "."
    else:
        Path("link").symlink_to(path)
        out = "link"
    assert "it is read too" in fails(capsys, *reading(name, what, paths[what], out))
    assert path.read_bytes() == before


@pytest.mark.parametrize(("name", "what"), [item for item in READERS if item[1] in ("data", "outside")])
@pytest.mark.parametrize("picture", ["pictures/cat/1.png", "pictures/train/cat/1.png"])
def test_no_picture_is_destroyed(
    idle: Path, capsys: pytest.CaptureFixture[str], name: str, what: str, picture: str
) -> None:
    path = Path(picture)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    words = reading(name, what, "pictures", "new")
    assert "it is read too" in fails(capsys, *words, "--json", picture)
    assert path.read_bytes() == b"mine" and not Path("new").exists()
    assert run([*words, "--json", "pictures/numbers.json"])  # it is read by nobody


@pytest.mark.parametrize(("name", "product"), [(name, it) for name in FOLDERS for it in FOLDERS[name]])
def test_a_folder_of_somebody_else(
    idle: Path, capsys: pytest.CaptureFixture[str], name: str, product: str
) -> None:
    """Names that a command chooses in a folder replace what it has written there, and nothing else."""
    Path(product).write_bytes(b"mine")
    if product in ("main.c", "failure"):  # an example, which is kept; what stands for a folder
        assert run(line(name, "--out", "."))
    else:
        found = fails(capsys, *line(name, "--out", "."))
        assert f"{product} is there already and is not from synflip {name}: move it" in found
    assert Path(product).read_bytes() == b"mine"


@pytest.mark.parametrize("name", FOLDERS)
def test_its_own_folder(idle: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """What a command has written is replaced, by what it wrote first."""
    modelfile.save(replace(random_model(), source={"command": "synflip demo"}), "own.safetensors")
    marks = {
        "demo": {"digits.safetensors": Path("own.safetensors").read_bytes()},
        "export-c": {"model.h": b"/* A network.\n * Written by synflip export-c; do not edit.\n */"},
        "evaluate": {"evaluation.json": b'{\n "network": "12-10",\n "aggregates": {'},
        "report paper": {"index.html": html([], "", "").encode()},
        "fuzz": {},
        "netlist": {"netlist.json": b"{}", "synflip.v": b""},
        "build": {"synflip.il": b""},
        "coins": {"coins.md": b"# Evidence on the coins\n"},
    }
    for file, content in marks[name].items():
        Path(file).write_bytes(content)
    for product in FOLDERS[name] if name not in ("export-c", "fuzz") else ():
        Path(product).touch()
    assert run(line(name, "--out", "."))


def test_pictures_beside_the_findings(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of a bench that is not there are somebody else's."""

    def work(*arguments: object) -> None:
        raise Worked

    monkeypatch.setattr("synflip.benchmarks.registry.run", work)
    words = ["bench", "--quick", "--only", "engine", "--out", "new.json"]
    Path("new-engine.png").write_bytes(b"mine")
    assert "new-engine.png is there already and is not from this bench" in fails(capsys, *words)
    assert Path("new-engine.png").read_bytes() == b"mine"
    assert run([*words, "--pictures", "."])
    Path("new-engine.png").unlink()
    assert run(words)


def test_no_file_is_written_that_nobody_named() -> None:
    """A default of --out is a folder, in which a command looks whose files are there."""
    defaults = {
        words.removeprefix("synflip ")
        for words, command in commands()
        for item in command.params
        if "--out" in item.opts and isinstance(item.default, str | Path)
    }
    assert "demo" in defaults and defaults <= FOLDERS.keys()


def test_a_trained_model_is_not_the_demos(idle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    modelfile.save(replace(random_model(), source={"data": "digits"}), "digits.safetensors")
    assert "digits.safetensors is there already" in fails(capsys, *line("demo", "--out", "."))


@pytest.mark.parametrize("name", FOLDERS)
def test_no_output_is_another(idle: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    for product in FOLDERS[name]:
        words = line(name, "--out", "new/sub")
        assert "it is written twice" in fails(capsys, *words, "--json", f"new/sub/{product}")
    for folder in ("new", "new/sub"):
        assert "it is to be the folder of" in fails(capsys, *line(name, "--out", "new/sub"), "--json", folder)


def test_the_other_inputs(idle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ("run", "m.safetensors", "--images", "x.npy")
    Path("margins").write_text("1,1")
    assert "read too" in fails(capsys, *common, "--margins", "margins", "--out", "margins")
    Path("m.features.pt2").write_bytes(b"mine")
    assert "read too" in fails(capsys, *common, "--out", "m.features.pt2")
    assert "read too" in fails(capsys, "bench", "--model", "digits=m.safetensors", "--out", "m.safetensors")
    assert "give it an ending" in fails(capsys, "bench", "--out", "bench")
    assert "written twice" in fails(capsys, "images", "digits", "--out", "y.npy", "--labels", "y.npy")
    assert "written twice" in fails(capsys, "coins", "--out", ".", "--picture", "coins.png")


@pytest.mark.parametrize(
    "words",
    [
        "train --data mnist --out",
        "images mnist --out",
        "evaluate m.safetensors --data mnist --out evaluation --json",
        "evaluate m.safetensors --data digits --outside mnist --out evaluation --picture",
        "margins m.safetensors --data mnist --out",
        "convert n.pt2 --data mnist --out",
        "report paper --data mnist --out paper --json",
        "report paper --data d.npz --out paper --json",  # of others it is asked what is unknown to them
        "coins --data mnist --out coins --picture",
        "rates --data mnist --out",
        "bench --out",
    ],
)
def test_data_sets_are_inputs(
    idle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.setenv("SYNFLIP_DATA", ".")
    Path("d.npz").write_bytes(b"mine")
    files = Path("mnist/t10k-images-idx3-ubyte.gz"), Path("cifar10-jpeg75/train.npz")
    for path in files:
        path.parent.mkdir()
        path.write_bytes(b"mine")
        assert "read too" in fails(capsys, *words.split(), str(path))
        assert path.read_bytes() == b"mine"


@pytest.mark.parametrize("out", ["m.safetensors", "other.safetensors", "other"])
def test_a_file_of_features_that_is_not_the_models(
    idle: Path, capsys: pytest.CaptureFixture[str], out: str
) -> None:
    """``--out m.safetensors`` of a network with convolutions writes m.features.pt2 too: nobody named it."""
    beside = Path(out.removesuffix(".safetensors") + ".features.pt2")
    beside.write_bytes(b"mine")
    Path("n.pt2").touch()
    Path("f.pt2").touch()
    assert f"cannot write {beside}, which goes with" in fails(
        capsys, "train", "--features", "conv", "--out", out
    )
    assert "which goes with" in fails(capsys, "convert", "n.pt2", "--features", "f.pt2", "--out", out)
    assert "read too" in fails(capsys, "convert", "n.pt2", "--features", str(beside), "--out", out)
    assert beside.read_bytes() == b"mine"


def test_models_do_not_share_what_lies_beside_them() -> None:
    from synflip.modelfile import features_path
    from synflip.training.checkpoint import checkpoint_path

    paths = ["a/m.safetensors", "a/m.v1", "a/m.v2", "a/m.v1.safetensors.old"]
    for beside in (features_path, checkpoint_path):
        assert len({beside(path) for path in paths}) == len(paths)
    assert features_path("a/m.safetensors") == Path("a/m.features.pt2")


def test_a_fifo_takes_a_result(files: Path) -> None:
    import os
    import subprocess

    os.mkfifo("fifo")
    with subprocess.Popen(["cat", "fifo"], stdout=subprocess.PIPE) as reader:
        assert app.main(["run", "m.safetensors", "--images", "x.npy", "--samples", "2", "--out", "fifo"]) == 0
        Path("r.npz").write_bytes(reader.communicate(timeout=60)[0])
    assert np.load("r.npz")["votes"].sum() == 14
