"""The live page in a browser: what tests and the guide's picture do with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser import complaints


@contextmanager
def live(page: Page, url: str, *, refused: bool = False) -> Iterator[None]:
    """Open the live page, and wait for what it does first. The browser must find nothing wrong with it.

    refused: some of its requests are refused.
    """
    page.goto(url)
    idle(page)
    yield
    found = complaints(page)
    assert [said for said in found if not (refused and said.startswith("Failed to load resource"))] == []


def idle(page: Page) -> None:
    """Wait until it does nothing."""
    expect(page.locator("body")).to_have_attribute("data-state", "idle")


def go(page: Page, button: str) -> None:
    """Press a button, and wait for what follows."""
    page.get_by_role("button", name=button).click()
    idle(page)


def stroke(page: Page, *points: tuple[float, float]) -> None:
    """Draw a line through points: shares of the grid's width and height."""
    grid = page.locator("#grid")
    width, height = grid.evaluate("grid => [grid.clientWidth, grid.clientHeight]")
    for index, (x, y) in enumerate(points):
        grid.hover(position={"x": x * width, "y": y * height})
        if index == 0:
            page.mouse.down()
    page.mouse.up()


def sent(page: Page) -> dict[str, Any]:
    """What the page asked for in its last run."""
    asked: dict[str, Any] = [request for request in page.requests() if request.method == "POST"][
        -1
    ].post_data_json
    return asked


def bars(page: Page) -> list[int]:
    """The votes that are shown."""
    return [int(votes) for votes in page.locator("#bars td:last-child").all_inner_texts()]
