"""What the tests of commands share."""

import subprocess
import sys
from pathlib import Path

import pytest
from synflip.cli import app

ROOT = Path(__file__).parents[2]


COMMANDS = (
    "demo",
    "train",
    "run",
    "verify",
    "fuzz",
    "verilog",
    "map",
    "export-c",
    "netlist",
    "images",
    "simulate",
    "devices",
    "selftest",
    "coins",
    "coin-cost",
    "calibrate",
    "rates",
    "info",
    "merge",
    "bench",
    "serve",
)


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
