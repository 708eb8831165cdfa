"""The commands verilog and map."""

from pathlib import Path

import pytest
from synflip.cli import app


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
