"""Rooms that are imported without torch: a command that only reads a model must not wait for it."""

import subprocess
import sys

import pytest

LIGHT = (
    "synflip.data",
    "synflip.modelfile",
    "synflip.modelfile.safetensors",
    "synflip.report.plotting",
    "synflip.report.sections",
    "synflip.report.tables",
    "synflip.spec.coins",
    "synflip.spec.cycles",
    "synflip.spec.features",
    "synflip.spec.model",
    "synflip.uncertainty",
    "synflip.util.outputs",
    "synflip.util.json_file",
    "synflip.util.progress",
    "synflip.util.text",
    "synflip.util.threads",
)


@pytest.mark.parametrize("modules", [LIGHT])
def test_without_torch(modules: tuple[str, ...]) -> None:
    heavy = "{'torch', 'matplotlib', 'sklearn', 'amaranth'} & set(sys.modules)"
    code = f"import sys, {', '.join(modules)}; print(sorted({heavy}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
