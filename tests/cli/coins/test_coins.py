"""Commands on coins: what they cannot write, and what coins cost."""

import json

import pytest
from synflip.cli.app import main
from synflip.cli.coins import evidence, rates


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["coins", "--page", "page.md"], "cannot read page.md"),
        (["coins", "--page", "empty.md"], "has no section between the lines <!-- begin coins digits -->"),
        (["coins", "--picture", "empty.md/x.png"], "cannot make the folder empty.md"),
        (["coin-cost", "--page", "empty.md"], "has no section between the lines <!-- begin coin-cost -->"),
        (["rates", "--page", "empty.md"], "has no section between the lines <!-- begin rates digits -->"),
        (["rates", "--geometry", "15x2"], "lanes must be a multiple of 16"),
        (["rates", "--out", "empty.md/x.md"], "cannot make the folder empty.md"),
    ],
)
def test_what_cannot_be_written_is_said_before_the_work(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for command in (evidence, rates):
        monkeypatch.setattr(command, "train_small", lambda name: pytest.fail("too late"))
    (tmp_path / "empty.md").write_text("nothing\n")
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_what_coins_cost(tmp_path, monkeypatch):
    """Two schemes, synthesized: the contract's words cost more than one word for all lanes."""
    from synflip_hdl.flow import coin_cost

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(coin_cost, "SCHEMES", coin_cost.SCHEMES[:3:2])
    assert main(["coin-cost", "--out", "cost.md", "--json", "cost.json"]) == 0
    rows = [
        line.split(" | ") for line in (tmp_path / "cost.md").read_text().splitlines() if line.startswith("| ")
    ][2:]  # below the heads and the rule
    luts = {row[0].strip("| "): int(row[2].replace(",", "")) for row in rows}
    numbers = json.loads((tmp_path / "cost.json").read_text())
    assert {item["name"]: item["bank"]["luts"] for item in numbers["schemes"]} == luts
    # A comparison of four bits against four takes at least four LUTs of four inputs.
    assert 64 * 4 <= luts["shift by one"] < luts["lfsr"] < 64 * 24
