"""Tables as text and as Markdown."""

import pytest
from synflip.benchmarks.engine_cycles import CAUSES
from synflip.benchmarks.tables import TABLES
from synflip.cli.console import columns, table
from synflip.report.tables import Table, for_terminal, markdown_table, shown

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


WIDE = Table(
    "A title that is as long as a line of a terminal, and then some words more than that",
    ("board", "network samples a second, in the engine", "what it is", "images"),
    [
        ("ulx3s-85f", 1_234_567, "a sentence about it, which goes on for longer than there is room", 12),
        ("tang-nano-9k", 7, "short", 3),
    ],
)


def words(text: str) -> list[str]:
    return sorted(text.split())


@pytest.mark.parametrize("width", [60, 80])
def test_a_table_holds_in_a_terminal_and_no_word_is_cut(width: int) -> None:
    text = WIDE.text(width)
    assert max(map(len, text.splitlines())) <= width
    assert words(text) == words(WIDE.text())
    assert "1,234,567" in text


def test_what_no_columns_can_hold_becomes_a_line_for_each_value() -> None:
    lines = WIDE.text(30).splitlines()
    assert max(map(len, lines)) <= 30
    assert "board: ulx3s-85f" in lines and "board: tang-nano-9k" in lines and "images: 12" in lines


def test_tables_of_a_page_hold_in_a_terminal() -> None:
    page = f"Before.\n\n{WIDE.markdown()}\n\n- after"
    lines = for_terminal(page, 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[:2] == ["Before.", ""] and lines[-1] == "- after"
    assert words("\n".join(lines[2:-2])) == words(WIDE.text().split("\n", 1)[1])
    assert for_terminal(markdown_table(("a",), [("x|y",)]), 80) == "a\nx|y"
    assert for_terminal("a long line of words\n\n- next", 9) == "a long\nline of\nwords\n\n- next"


def test_tables_of_a_bench_hold_at_80_columns() -> None:
    engine = {"network": "mnist-512", "shape": "784-512-512-10", "geometry": "128x8", "batch": 16}
    engine |= {"cycles": 999_999, "ideal": 888_888, "passes": 64, "causes": dict.fromkeys(CAUSES, 8624)}
    seconds = {"images": 10_000, "threads": 16, "golden": 0.9, "plain": 0.8, "products": 0.7, "votes": 0.1}
    machine = {"flags": ("avx2", "amx_int8", "avx512_vnni", "avx_vnni"), "way": "float32"}
    line = {"y": "CPU seconds", "x": "1 / (lanes x banks)", "slope": 5.452e-06, "intercept": 0.008609}
    line |= {"points": [[0.0625], [0.0009766]], "residual": 0.0349}
    starts = {"command": "synflip run", "seconds": 12.34, "processor": 23.45, "wanted": 0.3}
    rival = {"build": 104.2, "seconds": 0.0093, "accuracy": 0.979, "agrees": 1.0}
    shape = {"shape": "784-512-512-10"}
    scaling = {"kind": "strong", "images": 10_000, "workers": 2, "seconds": 123.4}
    scaling |= {"over_one": 1.92, "over_alone": 1.87}
    plan = {"workers": 1000, "images": "client", "tasks": 1_000_000, "compute": 1e6, "line": 1e5}
    asleep = {"workers": 1000, "tasks": 1_000_000, "task_seconds": 0.25, "seconds": 123.4, "measured": 130.2}
    parts = {
        "engine": {"images": 64, "samples": 64, "rows": [engine]},
        "balance": {"images": 64, "samples": 64, "rows": [engine | {"before": 99_999, "after": 88_888}]},
        "golden": {"ways": ["float32"], "rows": [seconds | machine]} | machine | shape,
        "convolutions": {"rows": [seconds], "shape": "32x32x3-32-64-128-256-128-10"} | machine,
        "gpu": {"gpu": "NVIDIA H200", "rows": [seconds]} | shape,
        "simulator": {"rows": [engine | {"cold": 16, "cached": 0.0, "engine": 3_831_899, "clock": 9_860_338}]}
        | shape,
        "rivals": {"rows": [rival | {"name": name} for name in ("hls4ml", "float", "golden", "verilator")]}
        | {"version": "1.3.0", "precision": "ap_fixed<16,6>", "geometry": "64x8", "samples": 16}
        | {"images": 1000, "at_once": 32}
        | shape,
        "scale": {"lines": {"synapses, golden model": line}},
        "memory": {"rows": [{"images": 1_000_000, "bytes": 498_000_000, "seconds": 13.2}]} | shape,
        "start": {"images": 100, "turns": 7, "rows": [starts, starts | {"wanted": None}]} | shape,
        "cluster": {"scaling": [scaling], "plans": [plan | {"seconds": 1e6, "in_flight": 1e9}]}
        | {"check": [asleep], "samples": 64, "planned_images": 10**9, "model_bytes": 2_400_000}
        | {"costs": {"speed": 1e5, "task": 0.002, "rate": 3e8}}
        | shape,
    }
    assert parts.keys() == TABLES.keys()
    for name, part in parts.items():
        for found in TABLES[name](part):
            text = found.text(80)
            assert max(map(len, text.splitlines())) <= 80, name
            assert "\u2026" not in text
            for cells in found.cells():
                for word in " ".join(cells).split():
                    assert word in text.split(), (name, word)


def test_tables_of_commands_hold_at_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    path = "/home/somebody/a-folder-with-a-long-name/synflip-fuzz/seed12345-accelerator17-case99"
    columns("Title", ("accelerator", path, "at 5 Mbit/s"), ("128x8", "a value " * 12, "12,345"))
    table("Title", (path, "a value " * 12), ("cycles", "1,234,567 predicted"))
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert "\u2026" not in text and "12,345" in text and "1,234,567 predicted" in text
    assert text.count("value") == 24
    pieces = [line[:40].strip() for line in text.split("cycles")[0].split("Title")[-1].splitlines()]
    assert "".join(pieces).startswith(path)  # folded, whole
