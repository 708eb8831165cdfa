"""The pages that people read, and what is said in them: blocks of code, inline code, links."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Above a block that no test runs; the reason is for readers too.
MARK = re.compile(r"<!-- not run: (\S.*?) -->")
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w{}-]*)\n(?P<text>.*?)^(?P=indent)```$", re.M | re.S)
COMMANDS = ("sh", "console", "bash", "shell", "pycon", "python")


@dataclass(frozen=True)
class Block:
    """A fenced block. line: of its fence, from 1. mark: why it is not run; None if it is."""

    language: str
    text: str
    line: int
    mark: str | None


@cache
def pages() -> tuple[Path, ...]:
    """README, CONTRIBUTING, CHANGELOG, and every page of the site."""
    top = [path for name in ("README", "CONTRIBUTING", "CHANGELOG") if (path := ROOT / f"{name}.md").exists()]
    return (*top, *sorted((ROOT / "docs").rglob("*.md")))


def name(page: Path) -> str:
    """Of a page, for messages."""
    return str(page.relative_to(ROOT))


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found = []
    for match in FENCE.finditer(text):
        before = text[: match.start()]
        above = before.rstrip("\n").rsplit("\n", 1)[-1] if not before.endswith("\n\n") else ""
        mark = MARK.fullmatch(above.strip())
        line = before.count("\n") + 1
        found.append(Block(match["language"], match["text"], line, mark[1] if mark else None))
    return found


def marks(text: str) -> int:
    """How many marks there are, in their right form or not. A mark that is quoted as code does not count."""
    return len(re.findall(r"^ *<!--\s*not run", FENCE.sub("", text), re.M))


def inline(text: str) -> list[str]:
    """Inline code, each with its white space made single, without the fenced blocks."""
    return [" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", FENCE.sub("", text))]


def command_lines(text: str) -> list[str]:
    """Lines of shell in the fenced blocks, continued ones joined, comments and prompts cut."""
    lines = []
    for block in blocks(text):
        if block.language in ("sh", "console", "bash", "shell"):
            for line in block.text.replace("\\\n", " ").splitlines():
                lines.append(re.sub(r"\s+#.*$", "", line.removeprefix("$ ")).strip())
    return [line for line in lines if line]
