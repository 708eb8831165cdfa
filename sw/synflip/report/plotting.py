"""PNG files from matplotlib: the same bytes every time, and no display, nor its global state."""

from pathlib import Path
from typing import TYPE_CHECKING

from synflip.util.extras import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Of the colour-blind safe palette of Okabe and Ito. They differ in lightness too.
RIGHT = "#0072B2"
WRONG = "#E69F00"
OUT_OF_DISTRIBUTION = "#009E73"
INK = "#222222"
FAINT = "#8C8C8C"


def new_figure(width: float, height: float, layout: str | None = "constrained") -> "Figure":
    """White, of that size in inches. Raises SynflipError without matplotlib."""
    require("matplotlib")
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=110, facecolor="white", layout=layout)  # type: ignore[arg-type]


def save(figure: "Figure", path: Path) -> None:
    """As PNG."""
    figure.savefig(path, format="png", metadata={"Software": None})
