"""Bars on stderr, and lines beside them."""

import io

import pytest
from rich.console import Console
from synflip.util import progress


def test_a_line_said_within_a_bar_goes_to_stdout_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(progress, "Console", lambda stderr: Console(file=screen, force_terminal=True))
    with progress.bar("Testing") as advance:
        advance(1, 2)
        advance.say("coins           pass")
        advance(2, 2)
    assert capsys.readouterr().out == "coins           pass\n"
    assert "Testing" in screen.getvalue() and "coins" not in screen.getvalue()


def test_without_a_terminal_there_are_only_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.bar("Testing") as advance:
        advance(1, 2)
        advance.say("a line")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("a line\n", "")
