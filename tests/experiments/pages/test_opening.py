"""The opening of the page on uncertainty."""

import json
from pathlib import Path

import pytest
from synflip.cli import app
from synflip.experiments.pages.opening import draw, opening
from synflip.report.sections import find_section

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "docs/results/uncertainty.md"
PAGE = ROOT / "docs/explanation/uncertainty.md"


def test_the_page_opens_with_what_the_results_say(tmp_path: Path) -> None:
    """`synflip report opening docs/results/uncertainty.md ...` makes it again."""
    table = opening(RESULTS)
    assert find_section(PAGE, "opening")[1].strip() == table.markdown()
    page, picture, numbers = tmp_path / "page.md", tmp_path / "p.png", tmp_path / "n.json"
    page.write_text("a\n<!-- begin opening -->\nold\n<!-- end opening -->\nb\n")
    written = ["--page", str(page), "--picture", str(picture), "--json", str(numbers)]
    assert app.main(["report", "opening", str(RESULTS), *written]) == 0
    found = json.loads(numbers.read_text())["rows"]
    assert [list(row.values()) for row in found] == table.cells() and [*found[0]] == [*table.heads]
    assert page.read_text() == f"a\n<!-- begin opening -->\n{table.markdown()}\n<!-- end opening -->\nb\n"
    assert picture.read_bytes()[:4] == b"\x89PNG"


BASELINES = """<!-- begin paper baselines -->
*mnist. Coins and baselines, 8 samples, 2 epochs each.*

|  | accuracy % | NLL | NLL, scaled | ECE | AUROC wrong | AUROC fashion-mnist |
| --- | --- | --- | --- | --- | --- | --- |
| softmax | 90.00 | 0.5 | 0.4 | 0.1 | 0.7 | 0.8 |
| ensemble of 3 | 91.00 | 0.4 | 0.3 | 0.2 | - | 0.8 |
| another | 91.00 | 0.4 | 0.3 | 0.2 | 0.8 | 0.8 |
| the same, taught by the ensemble, mean softmax | 92.00 | 0.4 | 0.3 | 0.2 | 0.8 | 0.8 |
| coins, votes | 93.00 | 0.4 | 0.3 | 0.2 | 0.8 | 0.61 |

*digits. Coins and baselines, 8 samples, 2 epochs each.*

|  | accuracy % |
| --- | --- |
| softmax | 90.00 |
<!-- end paper baselines -->
"""
OUTSIDE = """<!-- begin paper out-of-distribution -->
*mnist. AUROC of out-of-distribution images, 8 samples.*

|  | fashion-mnist: entropy | fashion-mnist: mutual information | fashion-mnist: energy |
| --- | --- | --- | --- |
| softmax | 0.7 | - | 0.6 |
| ensemble of 3 | 0.7 | 0.9 | 0.6 |
| the same, taught by the ensemble | 0.7 | 0.75 | 0.8 |
<!-- end paper out-of-distribution -->
"""


def test_rows_and_columns(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    page.write_text(BASELINES + OUTSIDE)
    table = opening(page)
    assert table.column("answer of") == [
        "softmax", "ensemble of 3", "coins, votes", "coins, taught by the ensemble, mean softmax",
    ]  # fmt: skip
    assert table.column("finds foreign images") == ["0.7", "0.9", "0.61", "0.8"]
    assert table.column("passes") == ["1", "3", "8", "8"] and table.column("networks") == ["1", "3", "1", "1"]
    assert table.column("NLL, scaled") == ["0.4", "0.3", "0.3", "0.3"]
    assert table.column("finds wrong answers") == ["0.7", "-", "0.8", "0.8"]
    draw(table, tmp_path / "p.png")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no section between"),
        (OUTSIDE + BASELINES.replace("mnist.", "cifar10."), "has no tables of mnist and fashion-mnist"),
    ],
)
def test_a_page_without_results(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, page = tmp_path / "results.md", tmp_path / "page.md"
    results.write_text(text)
    page.write_text("<!-- begin opening -->\nold\n<!-- end opening -->\n")
    arguments = ["report", "opening", str(results), "--page", str(page), "--picture", str(tmp_path / "p.png")]
    assert app.main(arguments) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert "old" in page.read_text() and not (tmp_path / "p.png").exists()
