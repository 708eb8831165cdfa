"""Networks that others made: what comes in, and what is refused by which line, is what the docs say."""

from synflip.report.sections import find_section

from tests.modelfile.peers import PAGE, PEERS, SECTION, table


def test_the_table_of_the_docs_is_what_happens() -> None:
    assert find_section(PAGE, SECTION)[1].strip() == table().strip()


def test_there_are_enough_and_most_are_read() -> None:
    lines = find_section(PAGE, SECTION)[1].strip().splitlines()[2:]
    assert len(lines) == len(PEERS) >= 30
    assert sum("| read: " in line for line in lines) > len(lines) / 2
