"""PNG pictures by matplotlib, without pyplot: no display, no global state, the same bytes every time."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from synflip.util.cache import tool_caches
from synflip.util.extras import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# From the palette of Okabe and Ito, which colour-blind readers can tell apart; lightness differs too.
RIGHT = "#0072B2"
WRONG = "#E69F00"
OUT_OF_DISTRIBUTION = "#009E73"
INK = "#222222"
FAINT = "#8C8C8C"


def new_figure(width: float, height: float, layout: str | None = "constrained") -> "Figure":
    """An empty white figure of width x height inches, 110 dots an inch.

    Raises SynflipError without matplotlib.
    """
    require("matplotlib")
    with tool_caches():
        from matplotlib.figure import Figure

    class Shown(Figure):
        """A figure that a notebook shows: without pyplot, IPython does not know how."""

        def _repr_png_(self) -> bytes:
            return png(self)

    return Shown(figsize=(width, height), dpi=110, facecolor="white", layout=layout)  # type: ignore[arg-type]


def png(figure: "Figure") -> bytes:
    """The figure as ``save`` writes it."""
    content = BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def save(figure: "Figure", path: Path) -> None:
    """Write a PNG without matplotlib's version in it, so that the same figure gives the same bytes."""
    path.write_bytes(png(figure))
