"""The command line as Markdown, from the commands themselves: ``python -m synflip.cli.reference``."""

import re
from collections.abc import Iterator
from typing import Any

import typer

from synflip.cli.app import app


def commands(group: Any = None, words: tuple[str, ...] = ("synflip",)) -> Iterator[tuple[str, Any]]:
    """Each command's words, such as ``synflip report paper``, and typer's command object."""
    group = typer.main.get_command(app) if group is None else group
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))
        else:
            yield " ".join((*words, name)), command


def markdown() -> str:
    """A section for each command: what it does, examples, a table of its arguments and options."""
    return "\n\n".join(_section(words, command) for words, command in commands()) + "\n"


def _section(words: str, command: Any) -> str:
    paragraphs = [" ".join(part.split()) for part in (command.help or "").split("\n\n")]
    examples = [part.removeprefix("Example: ") for part in paragraphs if part.startswith("Example: ")]
    parts = [f"## {words}", *(part for part in paragraphs if not part.startswith("Example: "))]
    if examples:
        parts.append("\n".join(("```sh", *examples, "```")))
    if command.params:
        rows = [
            f"| {_names(item)} | {_cell(item.help or '')} | {_default(item)} |" for item in command.params
        ]
        parts.append("\n".join(("| argument, option | meaning | default |", "|---|---|---|", *rows)))
    return "\n\n".join(parts)


def _names(item: Any) -> str:
    if item.param_type_name == "argument":
        return f"`{item.metavar or item.name.upper()}`"
    names = ", ".join(f"`{name}`" for name in (*item.opts, *item.secondary_opts))
    choices = getattr(item.type_descriptor.annotation, "__members__", None)
    value = item.metavar or ("\\|".join(choice.value for choice in choices.values()) if choices else None)
    return f"{names} `{value}`" if value and not item.is_flag else names


def _default(item: Any) -> str:
    if item.required:
        return "must be given"
    default = getattr(item.default, "value", item.default)
    if default is None or default is False or not item.show_default:
        return ""
    return f"`{', '.join(map(str, default)) if isinstance(default, list | tuple) else default}`"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


if __name__ == "__main__":
    print(markdown(), end="")
