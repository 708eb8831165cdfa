"""The command merge."""

from pathlib import Path
from typing import Annotated

import typer

from synflip.cli.console import table

# Nothing else here: `synflip --help` must not wait for torch, nor even for numpy.
app = typer.Typer()


@app.command()
def merge(
    parts: Annotated[list[Path], typer.Argument(metavar="R1.npz R2.npz ..", help="Parts, in any order.")],
    out: Annotated[Path, typer.Option("--out", metavar="R.npz", help="Where to write the whole.")],
) -> None:
    """Put the parts of an inference together, as synflip run --shards writes them.

    R.npz has the votes, logit sums, samples used and logits of one run of all samples, to the bit. Its cycles
    are those of all parts: each part is a run of its own, with a beginning and an end.

    Example: synflip merge r1.npz r2.npz --out r.npz
    """
    from synflip.inference.shards import merge as merged
    from synflip.util.atomic import check_output, replacing

    check_output(out)
    result, part = merged(parts)
    with replacing(out) as partial:
        result.save(partial)
    table(
        f"{part.count} parts, seed {part.seed}",
        ("images x samples", f"{len(result.used)} x {part.samples}"),
        ("cycles of all parts", f"{result.cycles:,}" if result.cycles >= 0 else "not predicted"),
        ("wrote", str(out)),
    )
