"""The live page in a browser: what is drawn is what is asked; on a phone, with keys, in the dark."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from synflip.golden.cpu import Golden
from synflip.spec.geometry import Geometry

from tests.browser import browser, window
from tests.serve.helpers import Client, digits_model, hub_of, infer, served
from tests.serve.live import bars, go, idle, live, sent, stroke

MODEL = digits_model()
#: A seven: a bar, and a leg down from its end.
SEVEN = ((0.25, 0.2), (0.75, 0.2), (0.5, 0.85))
TABS = ("Try it", "Test set", "Accelerator")
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
def chromium() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def wide(chromium: Browser) -> Iterator[Page]:
    with window(chromium) as found:
        yield found


@pytest.fixture(scope="module")
def phone(chromium: Browser) -> Iterator[Page]:
    with window(chromium, 390) as found:
        yield found


@pytest.fixture
def page(wide: Page, client: Client) -> Iterator[Page]:
    """The page in a wide window, after its first run."""
    with live(wide, client.url):
        yield wide


def settle(page: Page, slider: str, value: int) -> None:
    """Move a slider, and wait for the run that follows."""
    page.get_by_role("slider", name=slider).fill(str(value))
    idle(page)


def choose(page: Page, setting: str, option: str) -> None:
    """Choose of a list, and wait for the run that follows."""
    page.get_by_label(setting).select_option(option)
    idle(page)


def turn(page: Page, tab: str) -> None:
    """Open a tab, and wait until it has counted."""
    page.get_by_role("tab", name=tab).click()
    expect(page.get_by_text("Counting").filter(visible=True)).to_have_count(0)


def test_a_seven_has_the_votes_of_infer(page: Page) -> None:
    go(page, "Clear")
    stroke(page, *SEVEN)
    idle(page)
    asked = sent(page)
    seven = np.array(asked["pixels"]).reshape(8, 8)
    assert seven.max() == 16 and seven[1, 2:6].min() > 8 and seven[6, 0] == seven[6, 7] == 0
    want = infer(MODEL, [asked["pixels"]], asked["samples"], asked["seed"])
    assert bars(page) == want.votes[0].tolist()
    assert page.locator("#answer b").inner_text() == MODEL.classes[want.winner[0]]
    votes = page.get_by_label("Votes, one a sample").get_by_role("listitem").all_inner_texts()
    assert votes == [MODEL.classes[index] for index in want.logits[:, 0].argmax(1)]
    scores = page.locator("#scores").inner_text()
    assert f"{want.entropy[0]:.3f} bits" in scores and f"{want.mutual_information[0]:.3f} bits" in scores
    assert f"{want.energy[0]:.2f} nats" in scores and f"above {MODEL.energy_threshold:.2f}" in scores
    go(page, "Flip again")  # other coins, the same picture
    again = sent(page)
    assert again["pixels"] == asked["pixels"] and again["seed"] == asked["seed"] + 1
    assert bars(page) == infer(MODEL, [asked["pixels"]], 16, again["seed"]).votes[0].tolist()


def test_settings_are_those_of_infer(page: Page) -> None:
    pixels = sent(page)["pixels"]
    settle(page, "Samples", 5)
    assert bars(page) == infer(MODEL, [pixels], 32, 1).votes[0].tolist()
    want = infer(MODEL, [pixels], 32, 1, margin=5)
    settle(page, "Enough lead", 5)
    scores = page.locator("#scores")
    assert f"would have stopped at sample {want.used[0]}" in scores.inner_text()
    page.get_by_label("Stop there").check()
    idle(page)
    assert bars(page) == want.votes[0].tolist() and want.used[0] < 32
    choose(page, "Compare with", "golden:16x2")
    assert f"{want.used[0]} of {want.used[0]} samples" in scores.inner_text()
    assert "0 of" in page.locator("#done").inner_text()
    assert page.locator("#bars tr:first-child .bar").count() == 2
    choose(page, "Device", "golden:16x2")
    assert sent(page)["devices"] == ["golden:16x2"]  # a device is not compared with itself


def test_coins_are_drawn_anew_for_each_sample(page: Page) -> None:
    flips, pictures = page.get_by_label("Coins of this sample"), []
    for samples in (0, 1, 1):
        settle(page, "Samples", samples)
        pictures.append(flips.evaluate("canvas => canvas.toDataURL()"))
    assert pictures[0] != pictures[1] == pictures[2]
    with Golden() as golden:
        golden.load(MODEL)
        first = golden.coins(1, 1)[0].numpy()[0].reshape(8, 8)
    shown = flips.evaluate(
        "canvas => [...canvas.getContext('2d').getImageData(0, 0, 8, 8).data].filter((_, at) => at % 4 === 0)"
    )
    assert len(set(zip(first.ravel().tolist(), shown, strict=True))) == len(set(shown)) == 3


@pytest.mark.parametrize("width", [320, 390, 1200])
def test_nothing_is_wider_than_the_window(wide: Page, phone: Page, client: Client, width: int) -> None:
    page = wide if width == 1200 else phone
    page.set_viewport_size({"width": width, "height": 850})
    with live(page, client.url):
        for tab in TABS:
            turn(page, tab)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            edges = page.evaluate(
                "[...document.querySelectorAll('main *')]"
                ".filter(e => e.checkVisibility() && !e.closest('.unseen, .wide'))"
                ".map(e => e.getBoundingClientRect().right)"
            )
            assert max(edges) <= width
        small = page.evaluate(
            "[...document.querySelectorAll('button, .button, select')].filter(e => e.checkVisibility())"
            ".map(e => e.getBoundingClientRect().height).filter(height => height < 36)"
        )
        assert small == []  # what a thumb finds


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read(phone: Page, client: Client, dark: bool) -> None:
    phone.emulate_media(color_scheme="dark" if dark else "light")
    with live(phone, client.url):
        for tab in TABS:
            turn(phone, tab)
            found = phone.evaluate(CONTRAST)
            assert len(found) > 5 and min(found)[0] >= 4.5, min(found)


def test_keys_are_enough(page: Page) -> None:
    press, grid = page.keyboard.press, page.locator("#grid")
    tabs = 0
    while not grid.evaluate("grid => grid === document.activeElement"):
        press("Tab")
        tabs += 1
        assert tabs < 9
    expect(grid).to_have_css("outline-style", "solid")
    press("Delete")
    for _ in range(3):
        press("Space")
        press("ArrowUp")
    press("Enter")
    idle(page)
    pixels = np.array(sent(page)["pixels"]).reshape(8, 8)
    assert (pixels[2:5, 4] == 16).all() and pixels[7].max() == 0
    assert sum(bars(page)) == 16
    assert "votes." in page.locator("#done").inner_text()  # said aloud, once
    page.get_by_role("tab", name="Try it").focus()
    press("ArrowRight")
    expect(page.get_by_role("tab", name="Test set")).to_be_focused()
    least = page.locator("#least").get_by_role("button")
    expect(least).to_have_count(10)
    least.first.focus()
    press("Enter")  # a test image is taken to the first tab
    expect(grid).to_be_visible()
    idle(page)
    assert len(set(sent(page)["pixels"])) > 2


def test_images_from_files(page: Page, tmp_path: Path) -> None:
    ink = np.full((80, 80), 255, dtype=np.uint8)
    ink[:40, :20] = 0
    Image.fromarray(ink).save(tmp_path / "paper.png")
    file = page.get_by_label("File")
    file.set_input_files(tmp_path / "paper.png")
    idle(page)
    pixels = np.array(sent(page)["pixels"]).reshape(8, 8)
    np.testing.assert_array_equal(pixels[:3, 0], 16)  # dark on light is made light on dark
    np.testing.assert_array_equal(pixels[5:, 4:], 0)
    assert bars(page) == infer(MODEL, [pixels.ravel()], 16, 1).votes[0].tolist()
    (tmp_path / "broken.png").write_bytes((tmp_path / "paper.png").read_bytes()[:40])
    file.set_input_files(tmp_path / "broken.png")
    alert = page.get_by_role("alert")
    expect(alert).to_have_text("broken.png is no image that this browser can read.")
    go(page, "Test image")  # and it goes on
    expect(alert).to_be_hidden()
    assert sum(bars(page)) == 16


def test_the_page_is_not_idle_while_a_file_is_read(page: Page, tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "black.png")
    page.evaluate("() => { createImageBitmap = () => new Promise(done => { window.goOn = done; }); }")
    page.get_by_label("File").set_input_files(tmp_path / "black.png")
    assert page.locator("body").get_attribute("data-state") == "running"
    page.evaluate("goOn()")  # it is no picture
    idle(page)


def test_what_is_wrong_is_said(page: Page) -> None:
    page.get_by_label("Seed").fill("1.5")
    go(page, "Test image")
    expect(page.get_by_role("alert")).to_contain_text("whole number")


def test_the_server_ends_in_the_middle(wide: Page) -> None:
    from tests.serve.test_http import Waits

    device = Waits()
    with served(hub_of(MODEL, {"slow": device}, data=True)) as client:
        wide.goto(client.url)
        device.may.release(1)
        alert = wide.get_by_role("alert")
        expect(wide.get_by_label("Votes, one a sample").get_by_role("listitem")).to_have_count(1)
        client.server.should_exit = True
        device.may.release(1)
        # On a busy machine the connection may end before what the server has to say comes.
        said = re.compile("^(slow: the server is stopping|The server ended in the middle of a run.)$")
        expect(alert).to_have_text(said)
        go(wide, "Flip again")
        expect(alert).to_contain_text("does not answer")


def test_rows_of_a_table(phone: Page) -> None:
    from tests.serve.test_inputs import table_model

    with (
        served(hub_of(table_model())) as client,
        live(phone, client.url, refused=True),
    ):
        row = phone.get_by_label("One row of numbers")
        expect(phone.locator("#columns")).to_contain_text("colour (blue, red)")
        row.fill("size,colour\n0.25,red")
        go(phone, "Flip again")
        assert sum(bars(phone)) == 16
        assert sent(phone)["row"] == "size,colour\n0.25,red"
        row.fill("0.25,green")
        go(phone, "Flip again")
        expect(phone.get_by_role("alert")).to_contain_text("none of its categories")
        assert phone.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_row_from_a_file(wide: Page, tmp_path: Path) -> None:
    """As a spreadsheet writes it, chosen or dropped; and what is no row."""
    from tests.serve.test_inputs import table_model

    path = tmp_path / "row.csv"
    path.write_bytes(b"\xef\xbb\xbfcolour,size\r\nred,0.75\r\n")
    model = table_model()
    want = infer(model, [[0.75, 0, 1]], 16, 1).votes[0].tolist()
    with served(hub_of(model)) as client, live(wide, client.url, refused=True):
        row, file = wide.get_by_label("One row of numbers"), wide.get_by_label("File")
        expect(file).to_have_attribute("accept", re.compile(r"\.csv"))
        for give in (file.set_input_files, lambda path: wide.locator("#input").drop({"files": path})):
            row.fill("")
            give(path)
            idle(wide)
            assert row.input_value() == sent(wide)["row"] == "colour,size\nred,0.75\n" and bars(wide) == want
        (tmp_path / "rows.csv").write_text("size,colour\n0.1,red\n0.2,blue\n")
        (tmp_path / "large.csv").write_text("0.1,red\n" * 200_000)
        for name, line in (
            ("rows", "give one row, perhaps below a line of names; there are 3 lines"),
            ("large", "large.csv is too large for one row."),
        ):
            file.set_input_files(tmp_path / f"{name}.csv")
            expect(wide.get_by_role("alert")).to_have_text(line)


def test_a_token_is_taken_from_the_address(wide: Page) -> None:
    token = "t" * 20
    with served(hub_of(MODEL, data=True), token=token) as client:
        with live(wide, client.url, refused=True):
            expect(wide.get_by_role("alert")).to_contain_text("token is missing")
        with live(wide, f"{client.url}?again#token={token}"):
            assert sum(bars(wide)) == 16 and token not in wide.url
