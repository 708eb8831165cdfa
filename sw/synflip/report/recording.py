"""Commands and what they print, as a recording of a terminal.

``python -m synflip.report.recording FILE.cast COMMAND ..`` writes an asciicast of version 2
(https://docs.asciinema.org/manual/asciicast/v2/), which ``asciinema play`` shows. Times in it are made, not
measured: a command is typed, and what it prints comes at once. Rows with measured times are left out, so that
the recording is the same on every machine that trains the same weights. ``--page`` puts the same as text into
the section ``recording`` of a page.
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from synflip.errors import SynflipError
from synflip.report.sections import find_section, replace_section
from synflip.util.outputs import check_outputs, write_text
from synflip.util.terminal import fails_in_one_line

WIDTH, LEAST_HEIGHT = 80, 24  # columns, rows
KEY, THINK, READ = 0.04, 0.5, 1.5  # seconds: of a key, before a command's output, after it
PROMPT = "$ "
SECTION = "recording"  # of a page
#: Rows of a table that say how long something took, and the lines in which their values go on.
TIMES = re.compile(r"^ (time|training) .*\n(?: {4,}.*\n)*", re.M)


def carry_out(command: str, folder: str | Path = ".") -> str:
    """What a ``synflip ..`` command prints, 80 columns wide, without colours and TIMES.

    Raises SynflipError if it is none or fails.
    """
    words = shlex.split(command)
    if not words or words[0] != "synflip":
        raise SynflipError(f"{command!r} is no command of synflip")
    environment = {**os.environ, "COLUMNS": str(WIDTH), "NO_COLOR": "1"}
    run = [sys.executable, "-m", "synflip.cli.app", *words[1:]]
    done = subprocess.run(run, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SynflipError(f"{command!r} failed: {done.stderr.strip()}")
    return TIMES.sub("", "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines()))


def transcript(session: Sequence[tuple[str, str]]) -> str:
    """The session, commands and what they printed, as text."""
    return "\n".join(f"{PROMPT}{command}\n{printed}" for command, printed in session)


def cast(session: Sequence[tuple[str, str]], title: str) -> str:
    """The session as an asciicast. The same session gives the same bytes."""
    height = max(LEAST_HEIGHT, transcript(session).count("\n") + 2)
    lines = [json.dumps({"version": 2, "width": WIDTH, "height": height, "title": title})]
    now = 0.0

    def show(text: str, seconds: float) -> None:
        nonlocal now
        lines.append(json.dumps([round(now, 3), "o", text.replace("\n", "\r\n")]))
        now += seconds

    for command, printed in session:
        show(PROMPT, THINK)
        for letter in command:
            show(letter, KEY)
        show("\n", THINK)
        show(printed + "\n", READ)
    return "\n".join([*lines, ""])


def main(arguments: Sequence[str] | None = None) -> None:
    """Carry the commands out in the working folder, one after the other, and write the recording. Raises
    SynflipError."""
    parser = argparse.ArgumentParser(prog="python -m synflip.report.recording", description=__doc__)
    parser.add_argument("file", metavar="FILE.cast", type=Path)
    parser.add_argument("commands", metavar="COMMAND", nargs="+")
    parser.add_argument("--title", default="synflip")
    parser.add_argument("--page", metavar="X.md", type=Path)
    asked = parser.parse_args(arguments)
    check_outputs([asked.file, asked.page])
    if asked.page is not None:
        find_section(asked.page, SECTION)
    session = [(command, carry_out(command)) for command in asked.commands]
    write_text(asked.file, cast(session, asked.title))
    if asked.page is not None:
        replace_section(asked.page, SECTION, f"```text\n{transcript(session).strip()}\n```")


if __name__ == "__main__":
    with fails_in_one_line():
        main()
