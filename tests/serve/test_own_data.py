"""Models of the user's own data: pictures of a folder, pictures whose pixels are of any range, tables."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synflip.data.dataset import Dataset
from synflip.data.registry import load
from synflip.spec.model import CompiledModel

from tests.browser import Page, browser
from tests.networks import random_model
from tests.serve.helpers import hub_of, infer, samples, served

HEIGHT, WIDTH = 6, 9
IDLE = "document.body.dataset.state === 'idle'"


def folder(place: Path, colours: bool) -> Dataset:
    """The data of a folder of pictures, two classes of ten."""
    rng = np.random.default_rng(4)
    for kind in ("cat", "dog"):
        (place / kind).mkdir(parents=True)
        for number in range(10):
            pixels = rng.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
            Image.fromarray(pixels if colours else pixels[..., 0]).save(place / kind / f"{number}.png")
    return load(place)


def model_of(data: Dataset) -> CompiledModel:
    """A random network for such data."""
    network = random_model((data.train_images.shape[1], 12, len(data.classes)))
    return replace(
        network, source={"data": data.name}, input_max=data.input_max, classes=data.classes,
        input_quantizer=data.input_quantizer,
    )  # fmt: skip


def of_any_range() -> Dataset:
    """Grey pictures whose pixels are floats that are not in 0..1."""
    pixels = np.random.default_rng(5).normal(0.3, 2, (20, HEIGHT, WIDTH)).astype(np.float32)
    return Dataset.of(pixels, np.arange(20) % 2, name="mine")


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        page.size(1200, 850)
        yield page


@pytest.mark.parametrize("kind", ["grey", "colours", "any range"])
def test_pictures_are_asked_for_as_pictures(tmp_path: Path, kind: str) -> None:
    data = of_any_range() if kind == "any range" else folder(tmp_path / "pics", kind == "colours")
    model = model_of(data)
    with served(hub_of(model, data=data)) as client:
        picture = client.get("/api/about")["picture"]
        channels = 3 if kind == "colours" else 1
        assert [picture[name] for name in ("height", "width", "channels")] == [HEIGHT, WIDTH, channels]
        item = client.get("/api/item?number=2")
        assert item["pixels"] == data.test_images[2].tolist()
        found = samples(client.run(pixels=item["pixels"], samples=6, seed=2))
        assert found[-1]["votes"] == infer(model, data.test_images[2:3], 6, 2).votes[0].tolist()


def test_a_picture_is_dropped_on_a_model_of_a_folder(window: Page, tmp_path: Path) -> None:
    data = folder(tmp_path / "pics", colours=True)
    model = model_of(data)
    with served(hub_of(model, data=data)) as client:
        window.events.clear()
        window.open(client.url)
        window.until(IDLE)
        shown = np.random.default_rng(6).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        shown[0] = shown[-1] = 255  # a bright border: photographs are not inverted
        Image.fromarray(shown).save(tmp_path / "new.png")
        before = window.sent()["pixels"]
        window.drop("#brand", tmp_path / "new.png")  # beside the card: nothing happens
        window.drop("#input", tmp_path / "new.png")
        window.until(IDLE)
        assert not window.value("document.querySelector('#input').classList.contains('over')")
        sent = window.sent()["pixels"]
        assert sent != before and sent == shown.transpose(2, 0, 1).ravel().tolist()
        assert window.complaints() == []


def test_pixels_of_any_range_are_sent_as_they_are_until_they_are_changed(window: Page) -> None:
    data = of_any_range()
    model = model_of(data)
    quantizer = model.input_quantizer
    assert quantizer is not None
    with served(hub_of(model, data=data)) as client:
        window.events.clear()
        window.open(client.url)
        window.until(IDLE)
        assert window.sent()["pixels"] == data.test_images[0].tolist()
        window.click("#invert")
        window.until(IDLE)
        whole = quantizer.low.min() + quantizer.high.max()
        np.testing.assert_allclose(window.sent()["pixels"], whole - data.test_images[0], atol=1e-12)
        window.click("#clear")
        window.stroke("#grid", (0.5, 0.2), (0.5, 0.8))
        window.until(IDLE)
        pixels = np.array(window.sent()["pixels"]).reshape(HEIGHT, WIDTH)
        assert pixels[3, 4] == quantizer.high.max() and pixels[0, 0] == quantizer.low.min()
        assert window.complaints() == []
