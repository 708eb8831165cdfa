"""The live page in a browser: what is drawn is what is asked; on a phone, with keys, in the dark."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synflip.golden.cpu import Golden
from synflip.spec.geometry import Geometry

from tests.browser import Page, browser
from tests.serve.helpers import Client, digits_model, hub_of, infer, served

MODEL = digits_model()
IDLE = "document.body.dataset.state === 'idle'"
#: A seven: a bar, and a leg down from its end.
SEVEN = ((0.25, 0.2), (0.75, 0.2), (0.5, 0.85))
TABS = ("try", "tests", "accelerators")
#: The ratio of contrast of each text that is seen and what is behind it, by WCAG 2.1, and the text.
CONTRAST = """(() => {
const part = value => (value /= 255) <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4;
const parse = text => text.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => .2126 * part(r) + .7152 * part(g) + .0722 * part(b);
const behind = element => {
  for (let at = element; at; at = at.parentElement) {
    const colour = parse(getComputedStyle(at).backgroundColor);
    if (colour.length < 4 || colour[3] > 0) return colour;
  }
};
const found = [];
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
  if (!own || !element.checkVisibility() || getComputedStyle(element).clipPath !== "none") continue;
  const [a, b] = [light(parse(getComputedStyle(element).color)), light(behind(element))];
  found.push([(Math.max(a, b) + .05) / (Math.min(a, b) + .05), element.textContent.trim().slice(0, 40)]);
}
return found; })()"""


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    devices = {"golden": Golden(), "golden:16x2": Golden(Geometry(16, 2))}
    with served(hub_of(MODEL, devices, data=True)) as found:
        yield found


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(window: Page, client: Client) -> Iterator[Page]:
    """The page in a wide window, after its first run. The browser must find nothing wrong with it."""
    window.events.clear()
    window.size(1200, 850)
    window.open(client.url)
    window.until(IDLE)
    yield window
    assert window.complaints() == []


def bars(page: Page) -> list[int]:
    """The votes that are shown."""
    found: list[int] = page.value(
        "[...document.querySelectorAll('#bars tr')].map(row => +row.lastElementChild.textContent)"
    )
    return found


def choose(page: Page, name: str, value: object) -> None:
    """Change a setting, and wait for the run that follows."""
    page.value(
        f"(e => {{ e.value = {json.dumps(value)}; e.dispatchEvent(new Event('input', {{bubbles: true}})); "
        f"e.dispatchEvent(new Event('change', {{bubbles: true}})); }})(document.getElementById('{name}'))"
    )
    page.until(IDLE)


def test_a_seven_has_the_votes_of_infer(page: Page) -> None:
    page.click("#clear")
    page.stroke("#grid", *SEVEN)
    page.until(IDLE)
    asked = page.sent()
    seven = np.array(asked["pixels"]).reshape(8, 8)
    assert seven.max() == 16 and seven[1, 2:6].min() > 8 and seven[6, 0] == seven[6, 7] == 0
    want = infer(MODEL, [asked["pixels"]], asked["samples"], asked["seed"])
    assert bars(page) == want.votes[0].tolist()
    assert page.value("document.querySelector('#answer b').textContent") == MODEL.classes[want.winner[0]]
    votes = page.value("[...document.querySelectorAll('#trail li')].map(item => item.textContent)")
    assert votes == [MODEL.classes[index] for index in want.logits[:, 0].argmax(1)]
    scores = page.value("document.querySelector('#scores').innerText")
    assert f"{want.entropy[0]:.3f} bits" in scores and f"{want.mutual_information[0]:.3f} bits" in scores
    assert f"{want.energy[0]:.2f} nats" in scores and f"above {MODEL.energy_threshold:.2f}" in scores
    page.click("#go")  # other coins, the same picture
    page.until(IDLE)
    again = page.sent()
    assert again["pixels"] == asked["pixels"] and again["seed"] == asked["seed"] + 1
    assert bars(page) == infer(MODEL, [asked["pixels"]], 16, again["seed"]).votes[0].tolist()


def test_settings_are_those_of_infer(page: Page) -> None:
    pixels = page.sent()["pixels"]
    choose(page, "samples", 5)
    assert bars(page) == infer(MODEL, [pixels], 32, 1).votes[0].tolist()
    want = infer(MODEL, [pixels], 32, 1, margin=5)
    choose(page, "margin", 5)
    assert f"would have stopped at sample {want.used[0]}" in page.value("document.body.innerText")
    page.click("#stop")
    page.until(IDLE)
    assert bars(page) == want.votes[0].tolist() and want.used[0] < 32
    choose(page, "beside", "golden:16x2")
    assert f"{want.used[0]} of {want.used[0]} samples" in page.value(
        "document.querySelector('#scores').innerText"
    )
    assert "0 of" in page.value("document.querySelector('#done').textContent")
    assert page.value("document.querySelectorAll('#bars tr:first-child .bar').length") == 2
    choose(page, "device", "golden:16x2")
    assert page.sent()["devices"] == ["golden:16x2"]  # a device is not compared with itself


def test_coins_are_drawn_anew_for_each_sample(page: Page) -> None:
    pictures = []
    for samples in (0, 1, 1):
        choose(page, "samples", samples)
        pictures.append(page.value("document.querySelector('#flips').toDataURL()"))
    assert pictures[0] != pictures[1] == pictures[2]
    with Golden() as golden:
        golden.load(MODEL)
        first = golden.coins(1, 1)[0].numpy()[0].reshape(8, 8)
    shown = page.value(
        "[...document.querySelector('#flips').getContext('2d').getImageData(0, 0, 8, 8).data]"
        ".filter((_, at) => at % 4 === 0)"
    )
    assert len(set(zip(first.ravel().tolist(), shown, strict=True))) == len(set(shown)) == 3


@pytest.mark.parametrize("width", [320, 390, 1200])
def test_nothing_is_wider_than_the_window(page: Page, width: int) -> None:
    page.size(width, 800)
    for tab in TABS:
        page.click(f"#tab-{tab}")
        if tab != "try":
            page.until(f"!/…/.test(document.querySelector('#{tab}-text').textContent)")
        assert page.value("document.documentElement.scrollWidth") <= width
        edges = page.value(
            "[...document.querySelectorAll('main *')]"
            ".filter(e => e.checkVisibility() && !e.closest('.unseen, .wide'))"
            ".map(e => e.getBoundingClientRect().right)"
        )
        assert max(edges) <= width
    small = page.value(
        "[...document.querySelectorAll('button, .button, select')].filter(e => e.checkVisibility())"
        ".map(e => e.getBoundingClientRect().height).filter(height => height < 36)"
    )
    assert small == []  # what a thumb finds


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read(page: Page, dark: bool) -> None:
    page.size(390, 800, dark)
    for tab in TABS:
        page.click(f"#tab-{tab}")
        if tab != "try":
            page.until(f"!/…/.test(document.querySelector('#{tab}-text').textContent)")
        found = page.value(CONTRAST)
        assert len(found) > 5 and min(found)[0] >= 4.5, min(found)


def test_keys_are_enough(page: Page) -> None:
    page.value("document.activeElement.blur()")
    seen = []
    while (now := page.value("document.activeElement.id")) != "grid":
        page.key("Tab")
        seen.append(now)
        assert len(seen) < 9, seen
    outline = page.value("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.key("Delete")
    for _ in range(3):
        page.key(" ", " ")
        page.key("ArrowUp")
    page.key("Enter", "\r")
    page.until(IDLE)
    pixels = np.array(page.sent()["pixels"]).reshape(8, 8)
    assert (pixels[2:5, 4] == 16).all() and pixels[7].max() == 0
    assert sum(bars(page)) == 16
    assert "votes." in page.value("document.querySelector('#done').textContent")  # said aloud, once
    page.value("document.querySelector('#tab-try').focus()")
    page.key("ArrowRight")
    assert page.value("document.activeElement.id") == "tab-tests"
    page.until("document.querySelectorAll('#least button').length === 10")
    page.value("document.querySelector('#least button').focus()")
    page.key("Enter", "\r")  # a test image is taken to the first tab
    page.until(f"!document.querySelector('#try').hidden && {IDLE}")
    assert len(set(page.sent()["pixels"])) > 2


def test_images_from_files(page: Page, tmp_path: Path) -> None:
    ink = np.full((80, 80), 255, dtype=np.uint8)
    ink[:40, :20] = 0
    Image.fromarray(ink).save(tmp_path / "paper.png")
    page.file("#file", tmp_path / "paper.png")
    page.until(f"{IDLE} && document.querySelector('#grid').width === 8")
    pixels = np.array(page.sent()["pixels"]).reshape(8, 8)
    np.testing.assert_array_equal(pixels[:3, 0], 16)  # dark on light is made light on dark
    np.testing.assert_array_equal(pixels[5:, 4:], 0)
    assert bars(page) == infer(MODEL, [pixels.ravel()], 16, 1).votes[0].tolist()
    (tmp_path / "broken.png").write_bytes((tmp_path / "paper.png").read_bytes()[:40])
    page.file("#file", tmp_path / "broken.png")
    said = page.until("document.querySelector('#alert').textContent")
    assert said == "broken.png is no image that this browser can read."
    page.click("#example")  # and it goes on
    page.until(f"document.querySelector('#alert').hidden && {IDLE}")
    assert sum(bars(page)) == 16


def test_the_page_is_not_idle_while_a_file_is_read(page: Page, tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "black.png")
    page.value("window.createImageBitmap = () => new Promise(done => { window.goOn = done; })")
    page.file("#file", tmp_path / "black.png")
    assert not page.value(IDLE)
    page.value("window.goOn()")  # it is no picture
    page.until(IDLE)


def test_what_is_wrong_is_said(page: Page) -> None:
    page.value("document.querySelector('#seed').value = '1.5'")
    page.click("#example")
    assert "whole number" in page.until("document.querySelector('#alert').textContent")


def test_the_server_ends_in_the_middle(window: Page) -> None:
    from tests.serve.test_http import Waits

    device = Waits()
    with served(hub_of(MODEL, {"slow": device}, data=True)) as client:
        device.may.release(1)
        window.open(client.url)
        window.until("document.querySelectorAll('#trail li').length === 1")
        client.server.should_exit = True
        device.may.release(1)
        said = window.until("document.querySelector('#alert').textContent")
        # On a busy machine the connection may end before what the server has to say comes.
        assert said in ("slow: the server is stopping", "The server ended in the middle of a run.")
    window.click("#go")
    assert "does not answer" in window.until("document.querySelector('#alert').textContent")


def test_rows_of_a_table(window: Page) -> None:
    from tests.serve.test_inputs import table_model

    model = table_model()
    with served(hub_of(model)) as client:
        window.size(390, 800)
        window.open(client.url)
        window.until("document.querySelector('#columns').textContent")
        assert "colour (blue, red)" in window.value("document.querySelector('#columns').textContent")
        window.value("document.querySelector('#row').value = 'size,colour\\n0.25,red'")
        window.click("#go")
        window.until(IDLE)
        assert sum(bars(window)) == 16
        assert window.sent()["row"] == "size,colour\n0.25,red"
        window.value("document.querySelector('#row').value = '0.25,green'")
        window.click("#go")
        assert "none of its categories" in window.until("document.querySelector('#alert').textContent")
        assert window.value("document.documentElement.scrollWidth") <= 390


def test_a_row_from_a_file(window: Page, tmp_path: Path) -> None:
    """As a spreadsheet writes it, chosen or dropped; and what is no row."""
    from tests.serve.test_inputs import table_model

    row = tmp_path / "row.csv"
    row.write_bytes(b"\xef\xbb\xbfcolour,size\r\nred,0.75\r\n")
    model = table_model()
    want = infer(model, [[0.75, 0, 1]], 16, 1).votes[0].tolist()
    with served(hub_of(model)) as client:
        window.events.clear()
        window.open(client.url)
        window.until(f"document.querySelector('#columns').textContent && {IDLE}")
        assert ".csv" in window.value("document.querySelector('#file').accept")
        for give in (partial(window.file, "#file"), partial(window.drop, "#input")):
            window.value("document.querySelector('#row').value = ''")
            give(row)
            window.until(f"document.querySelector('#row').value && {IDLE}")
            assert window.sent()["row"] == "colour,size\nred,0.75\n" and bars(window) == want
        (tmp_path / "rows.csv").write_text("size,colour\n0.1,red\n0.2,blue\n")
        (tmp_path / "large.csv").write_text("0.1,red\n" * 200_000)
        for name, line in (
            ("rows", "give one row, perhaps below a line of names; there are 3 lines"),
            ("large", "large.csv is too large for one row."),
        ):
            window.file("#file", tmp_path / f"{name}.csv")
            assert window.until("document.querySelector('#alert').textContent") == line
            window.until(IDLE)
            window.value("document.querySelector('#alert').textContent = ''")


def test_a_token_is_taken_from_the_address(window: Page) -> None:
    token = "t" * 20
    with served(hub_of(MODEL, data=True), token=token) as client:
        window.open(client.url)
        assert "token is missing" in window.until("document.querySelector('#alert').textContent")
        window.open(f"{client.url}?again#token={token}")
        window.until(IDLE)
        assert sum(bars(window)) == 16 and token not in window.value("location.href")
