"""The commands verilog, map, export-c and simulate."""

from pathlib import Path

import pytest
from synflip import __version__
from synflip.cli import app
from synflip.spec.geometry import Geometry
from synflip.spec.usb import Speed
from synflip_hdl.export.companions import core
from synflip_hdl.export.verilog import convert_serial, convert_usb

from tests.cli.helpers import fails


def test_verilog(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["verilog", "--geometry", "16x1", "--bits", "1", "--out", "top.v"]) == 0
    text = Path("top.v").read_text()
    assert "module synflip" in text
    assert "endmodule" in text


def test_the_title_is_of_what_was_made(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Settings in the geometry's text win."""
    words = ["verilog", "--geometry", "16x1,bits=1,activation_bits=4", "--out", "top.v"]
    assert app.main(words) == 0
    assert "16x1, k = 1, A = 4" in capsys.readouterr().out


def test_what_is_written_beside_the_verilog(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["verilog", "--geometry", "16x1", "--bits", "1", "--out", "my top.v"]
    assert app.main(command) == 0
    assert '-file "*my top.v"' in Path("my top.vlt").read_text()
    assert "- 'my top.v'" in Path("my top.core").read_text()
    assert app.main(command) == 0  # its own files are replaced
    Path("my top.core").write_text("CAPI=2:\nname: ::mine:0\n")
    verilog = Path("my top.v").read_text()
    Path("my top.v").write_text("old")
    assert app.main(command) == 1
    assert "my top.core is there already and is not from synflip verilog: move it" in capsys.readouterr().err
    assert Path("my top.v").read_text() == "old" != verilog  # said before anything is written
    assert "mine" in Path("my top.core").read_text()
    assert app.main([*command[:-1], "other.core"]) == 1
    assert "use --out NAME.v" in capsys.readouterr().err
    assert not Path("other.core").exists()
    for name in ("two\nlines.v", "\udcff.v"):
        assert "cannot say this name: take another" in fails(capsys, "verilog", "--out", name)
    assert not list(Path().glob("*lines*"))


def test_the_core_file_is_yaml() -> None:
    """FuseSoC's targets merge the default's settings; every file set that they name is there."""
    yaml = pytest.importorskip("yaml")  # Dask brings it
    found = yaml.safe_load(core("my top's.v", "my top's.vlt", "synflip_axi"))
    assert "CAPI=2" in found and found["name"] == f"synflip:synflip:synflip_axi:{__version__}"
    files = {name: item["files"] for name, item in found["filesets"].items()}
    assert files == {"rtl": ["my top's.v"], "waivers": ["my top's.vlt"]}
    targets = found["targets"]
    assert {name: target["filesets"] for name, target in targets.items()} == {
        "default": ["rtl"], "lint": ["waivers", "rtl"], "sim": ["rtl"],
    }  # fmt: skip
    assert {target["toplevel"] for target in targets.values()} == {"synflip_axi"}
    assert (targets["lint"]["flow"], targets["sim"]["flow"]) == ("lint", "sim")
    assert targets["lint"]["flow_options"] == {"tool": "verilator", "verilator_options": ["-Wall"]}
    assert targets["sim"]["flow_options"] == {"tool": "icarus", "iverilog_options": ["-g2012"]}


def test_verilog_with_axi(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["verilog", "--geometry", "16x1", "--front", "axi", "--out", "top.v"]) == 0
    assert "module synflip_axi(" in Path("top.v").read_text()


def test_verilog_with_a_serial_line(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file is that of a UART at the clock and the rate that were asked for."""
    words = ["verilog", "--geometry", "16x1", "--front", "serial", "--out", "top.v"]
    machine = Geometry.parse("16x1", bits=4, activation_bits=8)
    for options, rate in (([], 3e6), (["--baud", "115200"], 115200)):
        assert app.main([*words, "--clock", "25", *options]) == 0
        text = Path("top.v").read_text()
        assert "module synflip_serial(" in text and text == convert_serial(machine, 25e6, rate)
    assert "name: synflip:synflip:synflip_serial:" in Path("top.core").read_text()
    capsys.readouterr()
    assert "give --clock MHZ" in fails(capsys, *words)
    assert "3e+06 baud needs a clock of at least 1.2e+07 Hz, not 1e+07" in fails(
        capsys, *words, "--clock", "10"
    )
    for option in ("--clock", "--baud"):
        assert "of --front serial" in fails(capsys, "verilog", option, "25", "--out", "other.v")
    assert not Path("other.v").exists()


def test_verilog_with_usb(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file is that of a device with the speed and the serial number that were asked for."""
    pytest.importorskip("luna")
    words = ["verilog", "--geometry", "16x1", "--front", "usb", "--out", "top.v"]
    assert app.main([*words, "--clock", "25", "--serial-number", "desk-3", "--speed", "full"]) == 0
    machine = Geometry.parse("16x1", bits=4, activation_bits=8)
    assert Path("top.v").read_text() == convert_usb(machine, 25e6, Speed.full, "desk-3")
    assert "name: synflip:synflip:synflip_usb:" in Path("top.core").read_text()
    capsys.readouterr()
    assert "--front usb makes its times from the clock: give --clock MHZ" in fails(capsys, *words)
    assert "serial number 'a,b' is not" in fails(capsys, *words, "--clock", "25", "--serial-number", "a,b")
    for option, value in (("--speed", "full"), ("--serial-number", "a")):
        assert "are of --front usb" in fails(capsys, "verilog", option, value, "--out", "other.v")
    assert "--baud is of --front serial" in fails(capsys, *words, "--clock", "25", "--baud", "9600")
    assert not Path("other.v").exists()


@pytest.mark.parametrize(
    ("format", "line"), [("md", "# Memory map"), ("c", "#ifndef SYNFLIP_H"), ("rdl", "addrmap")]
)
def test_map(files: Path, capsys: pytest.CaptureFixture[str], format: str, line: str) -> None:
    assert app.main(["map", "--format", format, "--out", "map.txt"]) == 0
    assert line in Path("map.txt").read_text()


def test_a_changed_example_stays(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export-c", "m.safetensors", "--out", "host"]
    assert app.main(words) == 0
    Path("host/main.c").write_text("mine")
    Path("host/model.c").unlink()
    assert app.main(words) == 0
    assert Path("host/main.c").read_text() == "mine" and Path("host/model.c").exists()
    assert "kept" in capsys.readouterr().out
    Path("bad").write_text("")
    assert "bad" in fails(capsys, *words[:-1], "bad")


def test_simulate_says_what_to_do_next_and_ctrl_c_ends_it_well(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    closed = []

    class Server:
        path = "/dev/pts/99"

        def __init__(self, geometry: Geometry, say: object) -> None:
            self.geometry = geometry

        def __enter__(self) -> "Server":
            return self

        def __exit__(self, *exc: object) -> None:
            closed.append(self.geometry.name)

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("synflip_sim.serial.pty.PtyDevice", Server)
    monkeypatch.setattr(time, "sleep", interrupted)
    assert app.main(["simulate", "--geometry", "16x1"]) == 0
    out, err = capsys.readouterr()
    assert out == "/dev/pts/99\n"  # a script reads this line
    assert "synflip selftest /dev/pts/99" in err and "Ctrl-C" in err and "error" not in err
    assert closed == ["16x1"]
