"""The system's Chromium, without a window, under Playwright: it waits for what a test acts on or expects."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

REQUIRED = "SYNFLIP_REQUIRE_CHROMIUM"
DEADLINE = 600_000  # milliseconds that a browser on a busy machine may take for one thing

expect.set_options(timeout=DEADLINE)


def chromium() -> str:
    """The browser. Without one the test is skipped, or fails if REQUIRED is set."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        if os.environ.get(REQUIRED):
            pytest.fail(f"{REQUIRED} is set, and there is no chromium")
        pytest.skip("no chromium")
    return found


@contextmanager
def browser() -> Iterator[Browser]:
    """The browser. Until the block ends this thread has an event loop, so asyncio.run fails in it."""
    path = chromium()
    with sync_playwright() as tools, tools.chromium.launch(executable_path=path, timeout=DEADLINE) as found:
        yield found


@contextmanager
def window(found: Browser, width: int = 1200, height: int = 850) -> Iterator[Page]:
    """A window of ``width`` pixels, a phone's if they are few, for people who want no motion."""
    with found.new_page(
        viewport={"width": width, "height": height}, is_mobile=width < 600, reduced_motion="reduce"
    ) as page:
        page.set_default_timeout(DEADLINE)
        yield page


def complaints(page: Page) -> list[str]:
    """What the browser has to say of the page that it shows: errors, and what its policy forbids."""
    errors = page.page_errors(filter="since-navigation")
    said = page.console_messages(filter="since-navigation")
    return [str(error) for error in errors] + [message.text for message in said]
