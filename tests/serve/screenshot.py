"""Write the picture of the live page that the guide shows: a seven, drawn and voted on.

    python -m tests.serve.screenshot [MODEL] [PICTURE]

MODEL is the demo's, out/demo/digits.safetensors. Needs Chromium.
"""

import sys
from pathlib import Path

from PIL import Image
from synflip import modelfile
from synflip.golden.cpu import Golden
from synflip.spec.geometry import Geometry

from tests.browser import browser, window
from tests.serve.helpers import hub_of, served
from tests.serve.live import go, idle, live, stroke

MODEL, PICTURE = Path("out/demo/digits.safetensors"), Path("docs/results/images/live_page.png")
#: Of an 8x8 digit as people write it: a bar, a leg, and a stroke across it.
STROKES = (((0.27, 0.08), (0.66, 0.08), (0.6, 0.45), (0.48, 0.93)), ((0.35, 0.5), (0.72, 0.5)))
WIDTH, HEIGHT = 1200, 640
COLOURS = 64


def main(model: Path = MODEL, picture: Path = PICTURE) -> None:
    """Serve, draw, look."""
    devices = {"golden": Golden(), "golden:16x2": Golden(Geometry(16, 2))}
    network = modelfile.load(model)
    with (
        served(hub_of(network, devices, data=True, name=model.name)) as client,
        browser() as chromium,
        window(chromium, WIDTH, HEIGHT) as page,
        live(page, client.url),
    ):
        go(page, "Clear")
        for points in STROKES:
            stroke(page, *points)
        idle(page)
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=picture)
    with Image.open(picture) as seen:
        seen.convert("RGB").quantize(COLOURS).save(picture, optimize=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
