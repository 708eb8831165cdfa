"""Tables as text and as Markdown."""

import pytest
from synflip.report.tables import Table, markdown_table, shown

TABLE = Table.from_records(
    "votes", "Votes", [{"": "seed 0", "vote %": 0.9876}, {"": "seed 1", "vote %": 1.0, "images": 10_000}]
)


def test_markdown_escapes_what_would_end_a_cell() -> None:
    assert markdown_table(("a", "|w|"), [(1, "x|y")]) == "| a | \\|w\\| |\n| --- | --- |\n| 1 | x\\|y |"


def test_records_become_columns_in_the_order_of_their_names() -> None:
    assert list(TABLE.heads) == ["", "vote %", "images"]
    assert TABLE.column("images") == [None, 10_000]
    assert TABLE.cells() == [["seed 0", "98.76", "-"], ["seed 1", "100.00", "10,000"]]
    assert TABLE.markdown().splitlines()[2] == "| seed 0 | 98.76 | - |"
    with pytest.raises(ValueError, match="nothing"):
        TABLE.column("nothing")


def test_text_pads_columns_and_leaves_no_blanks_at_the_end() -> None:
    assert TABLE.text() == "Votes\n        vote %  images\nseed 0  98.76   -\nseed 1  100.00  10,000\n"


@pytest.mark.parametrize(
    ("head", "value", "text"),
    [
        ("a", 0.5, "0.5000"),
        ("a %", 0.5, "50.00"),
        ("a", 1234, "1,234"),
        ("a", True, "True"),
        ("a %", "x", "x"),
    ],
)
def test_values_are_shown_by_their_type(head: str, value: object, text: str) -> None:
    assert shown(head, value) == text
