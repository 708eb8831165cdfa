"""Markdown pages as notebooks."""

import json
from pathlib import Path

import pytest
from synflip.errors import SynflipError
from synflip.report.notebook import cells, main, notebook

from tests.docs.pages import ROOT, blocks

PAGE = """# A title

Some [text](../guide/x.md#part), and [more](#here), and [the site](https://example.org).

```python
epochs = 60
```
<!-- in tests: epochs = 2 -->

```python
print("a")

print(epochs)
```

<!-- not run: needs a board -->
```python
open_device("/dev/ttyUSB1")
```

```sh
synflip devices
```
"""
TUTORIALS = sorted((ROOT / "docs/tutorials").glob("*.md"))


def test_blocks_of_python_become_cells() -> None:
    found = cells(PAGE)
    assert [kind for kind, _ in found] == ["markdown", "code", "code", "markdown"]
    assert found[0][1].endswith("Some text (../guide/x.md), and more, and [the site](https://example.org).")
    assert found[1][1] == "epochs = 60" and found[2][1] == 'print("a")\n\nprint(epochs)'
    last = found[3][1]  # what is not run is text
    assert last.startswith('```python\nopen_device("/dev/ttyUSB1")\n```') and last.endswith(
        "synflip devices\n```"
    )
    assert not any("<!--" in text for _, text in found)


def test_the_tests_run_a_smaller_one() -> None:
    small = cells(PAGE, small=True)
    assert small[1][1] == "epochs = 60\nepochs = 2"
    assert [small[place] for place in (0, 2, 3)] == [cells(PAGE)[place] for place in (0, 2, 3)]


def test_a_notebook_is_of_the_format_without_outputs() -> None:
    whole = json.loads(notebook(PAGE))
    assert (whole["nbformat"], whole["nbformat_minor"]) == (4, 5)
    for cell in whole["cells"]:
        assert cell["metadata"] == {} and cell["id"]
        assert ("outputs" in cell) == ("execution_count" in cell) == (cell["cell_type"] == "code")
        assert cell.get("outputs", []) == [] and "".join(cell["source"]) in [text for _, text in cells(PAGE)]
    assert len({cell["id"] for cell in whole["cells"]}) == 4
    assert notebook(PAGE) == notebook(PAGE)


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_every_tutorial_is_a_notebook(page: Path, tmp_path: Path) -> None:
    main([str(page), "--out", str(tmp_path)])
    made = json.loads((tmp_path / f"{page.stem}.ipynb").read_text())["cells"]
    code = [cell for cell in made if cell["cell_type"] == "code"]
    wanted = [block for block in blocks(page.read_text()) if block.language == "python" and not block.mark]
    assert ["".join(cell["source"]) for cell in code] == [block.text.strip() for block in wanted]
    assert len(wanted) >= 3 and page.read_text().count("<!-- in tests:") <= len(wanted)


def test_pages_that_cannot_be_read_or_share_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("a", "b"):
        Path(folder).mkdir()
        Path(folder, "page.md").write_text(PAGE)
    with pytest.raises(SynflipError, match=r"cannot read none\.md"):
        main(["none.md"])
    with pytest.raises(SynflipError, match=r"cannot write page\.ipynb: it is written twice"):
        main(["a/page.md", "b/page.md"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
