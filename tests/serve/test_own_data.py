"""Models of the user's own data: pictures of a folder, pictures whose pixels are of any range, tables."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from synflip.data.dataset import Dataset
from synflip.data.registry import load
from synflip.spec.model import CompiledModel

from tests.browser import browser, window
from tests.networks import random_model
from tests.serve.helpers import hub_of, infer, samples, served
from tests.serve.live import go, idle, live, sent, stroke

HEIGHT, WIDTH = 6, 9


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
def page() -> Iterator[Page]:
    with browser() as chromium, window(chromium) as found:
        yield found


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


def test_a_picture_is_dropped_on_a_model_of_a_folder(page: Page, tmp_path: Path) -> None:
    data = folder(tmp_path / "pics", colours=True)
    model = model_of(data)
    with served(hub_of(model, data=data)) as client, live(page, client.url):
        shown = np.random.default_rng(6).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        shown[0] = shown[-1] = 255  # a bright border: photographs are not inverted
        Image.fromarray(shown).save(tmp_path / "new.png")
        before, picture = sent(page)["pixels"], {"files": tmp_path / "new.png"}
        page.locator("#brand").drop(picture)  # beside the card: nothing happens
        idle(page)
        assert sent(page)["pixels"] == before
        page.locator("#input").drop(picture)
        idle(page)
        expect(page.locator("#input")).not_to_contain_class("over")
        assert sent(page)["pixels"] == shown.transpose(2, 0, 1).ravel().tolist() != before


def test_pixels_of_any_range_are_sent_as_they_are_until_they_are_changed(page: Page) -> None:
    data = of_any_range()
    model = model_of(data)
    quantizer = model.input_quantizer
    assert quantizer is not None
    with served(hub_of(model, data=data)) as client, live(page, client.url):
        assert sent(page)["pixels"] == data.test_images[0].tolist()
        go(page, "Invert")
        whole = quantizer.low.min() + quantizer.high.max()
        np.testing.assert_allclose(sent(page)["pixels"], whole - data.test_images[0], atol=1e-12)
        go(page, "Clear")
        stroke(page, (0.5, 0.2), (0.5, 0.8))
        idle(page)
        pixels = np.array(sent(page)["pixels"]).reshape(HEIGHT, WIDTH)
        assert pixels[3, 4] == quantizer.high.max() and pixels[0, 0] == quantizer.low.min()
