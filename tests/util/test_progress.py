"""What is said on stderr while work goes on."""

import io
import sys
import threading

import pytest
from rich.console import Console
from synflip.util import progress
from synflip.util.progress import duration, lines


class Heard(io.StringIO):
    """A stderr that tells when ``wanted`` was printed."""

    def __init__(self, wanted):
        super().__init__()
        self.wanted, self.found = wanted, threading.Event()

    def write(self, text):
        count = super().write(text)
        if self.wanted in self.getvalue():
            self.found.set()
        return count


def test_lines_come_while_the_work_is_silent(monkeypatch):
    said = Heard("routing, iteration 3, 12 wires overused, ")
    monkeypatch.setattr(sys, "stderr", said)
    with lines("nextpnr", every=0.001) as advance:
        advance(3, None, "routing, iteration 3, 12 wires overused")
        assert said.found.wait(60)
    text = said.getvalue().splitlines()
    assert text[0] == "nextpnr ..." and text[-1].startswith("nextpnr: done, ")


def test_work_that_fails_is_not_done(monkeypatch):
    said = Heard("working")
    monkeypatch.setattr(sys, "stderr", said)
    with pytest.raises(ValueError), lines("nextpnr", every=0.001):
        assert said.found.wait(60)
        raise ValueError
    assert "done" not in said.getvalue()
    assert not any(thread.name.startswith("progress") for thread in threading.enumerate())


def test_times_are_said_for_people():
    assert [duration(seconds) for seconds in (0.4, 59.4, 59.6, 723, 3599.6, 3720)] == [
        "0 s", "59 s", "1 min 0 s", "12 min 3 s", "1 h 0 min", "1 h 2 min"
    ]  # fmt: skip


def test_a_line_said_within_a_bar_goes_to_stdout_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(
        progress.terminal, "console", lambda stderr: Console(file=screen, force_terminal=True)
    )
    with progress.bar("Testing") as advance:
        advance(1, 2)
        advance.say("coins           pass")
        advance(2, 2)
    assert capsys.readouterr().out == "coins           pass\n"
    assert "Testing" in screen.getvalue() and "coins" not in screen.getvalue()


def test_long_work_says_lines_without_a_terminal_and_moves_a_bar_in_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with progress.long_work("Report"):
        pass
    assert capsys.readouterr().err == "Report ...\n"
    with progress.long_work("Report", begins=False):
        pass
    assert capsys.readouterr().err == ""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr(progress.terminal, "console", lambda stderr: console)
    with progress.long_work("Report") as advance:
        advance(3, 4, "training")
    assert "3/4" in screen.getvalue() and "Report ..." not in screen.getvalue()


def test_without_a_terminal_there_are_only_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.bar("Testing") as advance:
        advance(1, 2)
        advance.say("a line")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("a line\n", "")
