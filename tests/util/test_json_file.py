"""JSON files of strangers: too large, not JSON, not text, not there."""

from pathlib import Path

import pytest
from synflip.errors import SynflipError
from synflip.util.json_file import read_json


def test_a_value_of_as_many_bytes_as_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"ä": 1}', encoding="utf-8")
    assert read_json(path, path.stat().st_size, "a row") == {"ä": 1}
    with pytest.raises(SynflipError, match=r"x\.json is not a row: it has more than 8 bytes"):
        read_json(path, path.stat().st_size - 1, "a row")


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": "\xff"}', b"[" * 100_000])
def test_what_is_not_json_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(SynflipError, match=r"x\.json is not a row: it is not JSON$"):
        read_json(path, 1 << 20, "a row")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SynflipError, match=r"cannot read .*none\.json: No such file"):
        read_json(tmp_path / "none.json", 100, "a row")
