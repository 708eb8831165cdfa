"""Terminal recordings: what is in them, and that the committed one is one of commands that there are."""

import json
import re
import shlex

import pytest
from synflip.cli.reference import commands
from synflip.errors import SynflipError
from synflip.report.recording import TIMES, carry_out, cast, main, transcript
from synflip.report.sections import find_section

from tests.docs.pages import ROOT

CAST = ROOT / "docs/start/session.cast"
SESSION = [("synflip --version", "synflip 1\n"), ("synflip x", "a\nb\n")]


def shown(text: str) -> str:
    """What a terminal shows at the end of a recording."""
    header, *events = map(json.loads, text.splitlines())
    assert header["version"] == 2 and header["width"] == 80 and header["height"] >= 24
    times = [time for time, *_ in events]
    assert times == sorted(times) and {kind for _, kind, _ in events} == {"o"}
    written = "".join(what for *_, what in events)
    assert written.count("\n") == written.count("\r\n") < header["height"]
    return written.replace("\r\n", "\n")


def test_a_recording_shows_what_was_typed_and_printed() -> None:
    text = cast(SESSION, "a title")
    assert (
        shown(text).strip()
        == transcript(SESSION).strip()
        == "$ synflip --version\nsynflip 1\n\n$ synflip x\na\nb"
    )
    assert json.loads(text.splitlines()[0])["title"] == "a title" and cast(SESSION, "a title") == text
    assert len(json.loads(text.splitlines()[2])[2]) == 1  # a key


def test_measured_times_are_left_out() -> None:
    time = " time    0.1 s measured (2 engine\n         cycles a second)\n"
    assert (
        TIMES.sub("", f"title\n cycles  7\n{time} verdict equal\n") == "title\n cycles  7\n verdict equal\n"
    )
    assert TIMES.sub("", " training                  90.9 s\n test images  445\n") == " test images  445\n"
    assert TIMES.sub("", " times  7\n") == " times  7\n"


def test_commands_are_carried_out_and_put_into_a_page(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.md").write_text("a\n<!-- begin recording -->\nold\n<!-- end recording -->\nb\n")
    main(["s.cast", "synflip --version", "--page", "page.md"])
    assert (tmp_path / "page.md").read_text().count("```text\n$ synflip --version\nsynflip ") == 1
    assert "old" not in (tmp_path / "page.md").read_text()
    assert shown((tmp_path / "s.cast").read_text()).startswith("$ synflip --version\nsynflip ")
    with pytest.raises(SynflipError, match="no section between the lines <!-- begin recording -->"):
        main(["t.cast", "rm -r x", "--page", "s.cast"])  # before a command is carried out
    for wrong, line in (
        ("rm -r x", "is no command of synflip"),
        ("", "is no command"),
        ("synflip fly", "failed"),
    ):
        with pytest.raises(SynflipError, match=line):
            carry_out(wrong, tmp_path)


def test_the_committed_recording_is_that_of_the_readme_and_of_todays_commands() -> None:
    text = shown(CAST.read_text()).strip()
    _, inside, _ = find_section(ROOT / "README.md", "recording")
    assert inside.strip() == f"```text\n{text}\n```"
    known = {words: command for words, command in commands()}
    typed = [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]
    assert len(typed) >= 3 and "equal" in text and not re.search(r"\d s\b", text)
    for line in typed:
        words = shlex.split(line)
        options = {option for item in known[" ".join(words[:2])].params for option in item.opts}
        assert {word for word in words if word.startswith("--")} <= options, line
    assert max(map(len, text.splitlines())) <= 100
