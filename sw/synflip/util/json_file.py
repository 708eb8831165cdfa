"""JSON files that are not trusted: their size is bounded before they are read."""

import json
from pathlib import Path
from typing import Any

from synflip.errors import SynflipError


def read_json(path: str | Path, limit: int, what: str) -> Any:
    """The JSON value in the UTF-8 file ``path``, of at most ``limit`` bytes.

    what: what the file should be, for messages, such as "a report of synflip build". Raises SynflipError for
    a file that cannot be read, is larger, or is not JSON (or nested too deep for Python's parser).
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise SynflipError(f"cannot read {path}: {error.strerror}") from None
    if len(content) > limit:
        raise SynflipError(f"{path} is not {what}: it has more than {limit} bytes")
    try:
        return json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        raise SynflipError(f"{path} is not {what}: it is not JSON") from None
