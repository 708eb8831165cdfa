"""Runs the deliberate defects of ``mutant_list`` against the benches.

A command, too: ``python -m synflip_sim.campaigns.mutants --table FILE`` runs every mutant against every
bench and writes who found it, a row with each; with ``--new`` those that the table lacks, so it goes on
where it was stopped.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType

import synflip_hdl
from synflip.errors import SynflipError
from synflip.report.sections import read_page
from synflip.util.outputs import check_outputs, write_text
from synflip.util.terminal import fails_in_one_line

from synflip_sim.campaigns.mutant_list import MUTANTS, Mutant
from synflip_sim.testbenches.runner import BENCHES, benches_of, build
from synflip_sim.testbenches.runs import RUNS

HDL = Path(synflip_hdl.__file__).parent


def patch(mutant: Mutant, folder: Path) -> Path:
    """A copy of the gateware with the defect, in ``folder``, which goes in front of the path of imports.

    Raises SynflipError unless the old text occurs exactly once.
    """
    text = (HDL / mutant.file).read_text("utf-8")
    if text.count(mutant.old) != 1:
        raise SynflipError(
            f"mutant {mutant.name}: {mutant.old!r} occurs {text.count(mutant.old)} times "
            f"in {mutant.file}, not once"
        )
    shutil.copytree(HDL, folder / HDL.name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / HDL.name / mutant.file).write_text(text.replace(mutant.old, mutant.new), "utf-8")
    return folder


def outcomes(
    mutant: Mutant, benches: Sequence[str], folder: Path, known: Iterable[str] = ()
) -> dict[str, str]:
    """Bench -> the difference that it found, if any. Raises SynflipError if a bench did not run.

    prepared: folder of a run. known: simulators without a defect, which need not run.
    """
    with tempfile.TemporaryDirectory() as name:
        path = os.pathsep.join((str(patch(mutant, Path(name))), *sys.path))
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "synflip_sim.testbenches.runner",
                str(folder),
                *benches,
                "--known",
                *known,
            ],
            env=os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
        )
    lines = [line.partition(": ") for line in done.stdout.splitlines()]
    found = {bench: difference for bench, _, difference in lines if bench in benches}
    if done.returncode != (1 if found else 0):
        raise SynflipError(f"mutant {mutant.name}: a bench did not run:\n{done.stderr[-3000:]}")
    return found


def table(found: dict[str, dict[str, str]], rows: Mapping[str, str] = MappingProxyType({})) -> str:
    """Markdown, without the mutants of neither. found: mutant -> bench -> difference. rows: those of a table
    of before, which stay."""
    lines = [
        "# Mutants",
        "",
        "Deliberate defects of the gateware, and the benches that found them; the one named first must.",
        "Written by `make mutants`; the defects are in `sim/synflip_sim/campaigns/mutant_list.py`. A new",
        "defect's row comes by `make mutants ARGS=--new`: the others are then those of the last whole run.",
        "The same goes on with a run that was stopped.",
        "",
        "| mutant | what it breaks | found by | first difference |",
        "|---|---|---|---|",
    ]
    for mutant in MUTANTS:
        if mutant.name not in found:
            lines += [rows[mutant.name]] if mutant.name in rows else []
            continue
        differences = found[mutant.name]
        benches = sorted(differences, key=lambda bench: bench != mutant.bench)
        first = differences[benches[0]].partition(": expected")[0] if benches else ""
        lines.append(f"| {mutant.name} | {mutant.breaks} | {', '.join(benches) or '**nobody**'} | {first} |")
    return "\n".join(lines) + "\n"


def rows_of(text: str) -> dict[str, str]:
    """Mutant -> its row in a text that ``table`` made."""
    return {line.split()[1]: line for line in text.partition("|---|\n")[2].splitlines()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Exit status 1 if the bench that must find a mutant did not. Raises SynflipError."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True, help="the file to write")
    parser.add_argument("--new", action="store_true", help="only those without a row in that file")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--bench", nargs="+", default=tuple(BENCHES), choices=BENCHES, help="all unless told")
    chosen = parser.parse_args(arguments)
    check_outputs([chosen.table])
    rows = rows_of(read_page(chosen.table)) if chosen.new else {}
    mutants = [mutant for mutant in MUTANTS if mutant.name not in rows]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(chosen.workers) as pool:
        runs, here, known = {}, {}, {}
        for name in {mutant.run for mutant in mutants}:
            (Path(folder) / name).mkdir()
            runs[name] = RUNS[name].prepare(Path(folder) / name)
            here[name] = [bench for bench in benches_of(RUNS[name].geometry) if bench in chosen.bench]
            known[name] = [build(bench, RUNS[name].geometry).name for bench in here[name]]

        def judge(mutant: Mutant) -> dict[str, str]:
            differences = outcomes(mutant, here[mutant.run], runs[mutant.run], known[mutant.run])
            print(f"{mutant.name}: {', '.join(differences) or 'nobody'}", flush=True)
            return differences

        found = {}
        waiting = {pool.submit(judge, mutant): mutant.name for mutant in mutants}
        try:
            for done, name in waiting.items():
                found[name] = done.result()
                write_text(chosen.table, table(found, rows))
        finally:
            pool.shutdown(cancel_futures=True)
    missed = [mutant.name for mutant in mutants if mutant.bench not in found[mutant.name]]
    sys.exit(f"not found by their bench: {', '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    with fails_in_one_line():
        main()
