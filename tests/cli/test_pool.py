"""Pools and the list of devices on the command line."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from synflip.cli import app
from synflip.devices.transport import BusError
from synflip.golden.cpu import Golden
from synflip.inference.request import InferenceRequest, Progress
from synflip.inference.result import Result
from synflip.spec.geometry import Geometry

from tests.cli.helpers import fails

RUN = ["run", "m.safetensors", "--images", "x.npy", "--samples", "6", "--seed", "3"]


def test_a_pool_writes_what_a_device_writes(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("golden", "pool:golden:16x1,golden"):
        assert (
            app.main([*RUN, "--logits", "--margin", "3", "--device", name, "--out", f"{name[:4]}.npz"]) == 0
        )
    assert "of all devices together" in capsys.readouterr().out
    with np.load("gold.npz") as want, np.load("pool.npz") as have:
        assert all((want[name] == have[name]).all() for name in ("votes", "logit_sums", "used", "logits"))


def test_each_device_has_its_geometry_with_the_model_s_bits(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Geometry] = []

    class Seen(Golden):
        def __init__(self, geometry: Geometry | None = None) -> None:
            super().__init__(geometry)
            opened.append(self.geometry)

    monkeypatch.setattr("synflip.golden.cpu.Golden", Seen)
    pool = ["--device", "pool:golden:16x1,image_slots=4,golden", "--geometry", "32x2", "--out", "r.npz"]
    assert app.main([*RUN, *pool]) == 0
    assert opened == [Geometry(16, 1, image_slots=4), Geometry(32, 2)]


def test_a_device_that_dies_is_told_on_stderr(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Golden.run

    def dying(device: Golden, request: InferenceRequest, progress: Progress | None = None) -> Result:
        if device.geometry.banks == 1:
            raise BusError("unplugged\x1b[2J")
        time.sleep(0.3)  # so that the other one is asked too
        return run(device, request, progress)

    assert app.main([*RUN, "--out", "one.npz"]) == 0
    monkeypatch.setattr(Golden, "run", dying)
    capsys.readouterr()
    assert app.main([*RUN, "--device", "pool:golden:16x1,golden:16x2", "--out", "r.npz"]) == 0
    line = "golden:16x1,bits=4,activation_bits=8 left the pool, and the others do its work: unplugged"
    assert capsys.readouterr().err.startswith(line)
    with np.load("one.npz") as want, np.load("r.npz") as have:
        assert (want["votes"] == have["votes"]).all()


@pytest.mark.parametrize(
    "words",
    [
        ["verify", "m.safetensors", "--images", "x.npy", "--device"],
        ["fuzz", "--out", "out", "--device"],
    ],
    ids=lambda words: words[0],
)
def test_what_judges_one_device_refuses_a_pool(
    files: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert f"{words[0]} needs one device, not a pool" in fails(capsys, *words, "pool:golden,golden")


def test_selftest_refuses_a_pool(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["selftest", "pool:golden,golden"]) == 1
    assert "selftest needs one device, not a pool" in capsys.readouterr().out


def test_the_list_of_devices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Port:
        device, description = "/dev/ttyUSB7", "a board\x1b[2J"

        def __lt__(self, other: object) -> bool:
            return True

    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: [Port()])
    assert app.main(["devices", "--json", str(tmp_path / "d.json")]) == 0
    said = capsys.readouterr().out
    assert "/dev/ttyUSB7" in said and "\x1b" not in said
    listed = {item["name"]: item["what"] for item in json.loads((tmp_path / "d.json").read_text())["devices"]}
    assert {"golden", "cuda", "pool", "verilator", "icarus", "netlist", "/dev/ttyUSB7"} == set(listed)
    assert listed["verilator"] == "of the package synflip_sim"
