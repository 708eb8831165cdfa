"""SVG pictures as text: boxes with words, wires, labels. The same calls give the same bytes.

The pictures have a light background of their own, so that they can be read on dark pages too.
"""

from collections.abc import Iterable
from html import escape
from typing import NamedTuple

#: Fills of boxes by what they are.
FILLS = {
    "control": "#f3e5f5",
    "memory": "#e3f2fd",
    "random": "#fff3e0",
    "compute": "#e8f5e9",
    "group": "none",
    "plain": "#ffffff",
}
LINE = "#37474f"
STYLE = f"""
      .box {{ stroke: {LINE}; stroke-width: 1.4; }}
      .group {{ fill: none; stroke: #90a4ae; stroke-dasharray: 6 4; }}
      .wire {{ fill: none; stroke: {LINE}; stroke-width: 1.6; marker-end: url(#tip); }}
      .line {{ fill: none; stroke: {LINE}; stroke-width: 1; }}
      .faint {{ fill: none; stroke: #cfd8dc; stroke-width: 1; }}
      .name {{ font-weight: bold; text-anchor: middle; fill: #111; }}
      .what {{ font-size: 12px; text-anchor: middle; fill: #333; }}
      .note {{ font-size: 12px; fill: #333; }}
      .left {{ font-size: 12px; fill: #333; text-anchor: end; }}
      .small {{ font-size: 10px; fill: #111; }}"""


class Box(NamedTuple):
    """A rectangle, in pixels, and what it is: a name of FILLS."""

    x: float
    y: float
    width: float
    height: float
    kind: str


def page(width: int, height: int, title: str, description: str, parts: Iterable[str]) -> str:
    """The picture, ``width`` x ``height`` pixels unless it is scaled. description: for readers who cannot
    see it."""
    body = "\n".join(f"  {part}" for part in parts)
    size = f'viewBox="0 0 {width} {height}" width="{width}"'
    font = 'font-family="Helvetica, Arial, sans-serif" font-size="14"'
    return f"""<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" {font}>
  <title>{escape(title)}</title>
  <desc>{escape(description)}</desc>
  <defs>
    <marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">
      <path d="M0 0 L8 4 L0 8 z" fill="{LINE}"/>
    </marker>
    <style>{STYLE}
    </style>
  </defs>
  <rect width="{width}" height="{height}" rx="10" fill="#fafafa"/>
{body}
</svg>
"""


def box(place: Box, name: str = "", *lines: str) -> str:
    """A rectangle with a name and further lines in its middle."""
    x, y, width, height, kind = place
    style = "group" if kind == "group" else "box"
    shape = f'<rect class="{style}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6"'
    if kind != "group":
        shape += f' fill="{FILLS[kind]}"'
    words = [(name, "name"), *((line, "what") for line in lines)] if name else []
    middle = x + width / 2
    top = y + height / 2 - 9 * (len(words) - 1) + 5
    texts = (
        f'<text class="{style}" x="{middle:g}" y="{top + 18 * place:g}">{escape(word)}</text>'
        for place, (word, style) in enumerate(words)
    )
    return "".join((f"{shape}/>", *texts))


def label(x: float, y: float, text: str, style: str = "note") -> str:
    """Text that begins at x, or, of style ``left``, ends there."""
    return f'<text class="{style}" x="{x:g}" y="{y:g}">{escape(text)}</text>'


def wire(path: str) -> str:
    """An arrow along a path, such as ``M0 0 H10 V20``."""
    return f'<path class="wire" d="{path}"/>'


def line(path: str, style: str = "line") -> str:
    """A thin line along a path; style: ``line`` or ``faint``."""
    return f'<path class="{style}" d="{path}"/>'
