"""A headless Chromium under remote control: the DevTools protocol, over a pipe. It needs no other package.

Everything has a deadline, and the browser's whole group of processes ends with the block.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

REQUIRED = "SYNFLIP_REQUIRE_CHROMIUM"
SECONDS = 600.0  # that a browser on a busy machine may take for one thing


def chromium() -> str:
    """The browser. Without one the test is skipped, or fails if REQUIRED is set."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        if os.environ.get(REQUIRED):
            pytest.fail(f"{REQUIRED} is set, and there is no chromium")
        pytest.skip("no chromium")
    return found


class Page:
    """A page of the browser. send: bytes go to it there; receive: they come from there."""

    def __init__(self, send: int, receive: int) -> None:
        self._send, self._receive = send, receive
        self._left, self._number = b"", 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for part in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{part}.enable")

    def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Do something; what the browser answers. Events that come before are kept in ``events``."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": arguments}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + SECONDS
        while True:
            answer = self._next(until)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _next(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._left:
            ready, *_ = select.select([self._receive], [], [], max(until - time.monotonic(), 0))
            assert ready, "the browser does not answer"
            part = os.read(self._receive, 1 << 20)
            assert part, "the browser has ended"
            self._left += part
        text, _, self._left = self._left.partition(b"\0")
        found: dict[str, Any] = json.loads(text)
        return found

    def value(self, expression: str) -> Any:
        """What an expression of JavaScript gives; of a promise, what it becomes."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, expression: str) -> Any:
        """Wait until an expression is true; its value."""
        end = time.monotonic() + SECONDS
        while not (found := self.value(expression)):
            assert time.monotonic() < end, (
                f"{expression} stays {found!r}: {self.value('document.body.innerText')}"
            )
            time.sleep(0.05)
        return found

    def size(self, width: int, height: int, dark: bool = False, still: bool = True) -> None:
        """The window's size in pixels, the scheme of its colours, and whether people want no motion."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"},
        ]
        self.call("Emulation.setEmulatedMedia", features=features)

    def open(self, url: str) -> None:
        """Open an address, and wait for it."""
        answer = self.call("Page.navigate", url=url)
        assert "errorText" not in answer, answer
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def click(self, selector: str) -> None:
        """Click in the middle of an element."""
        x, y = self.middle(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, x, y)

    def middle(self, selector: str) -> tuple[float, float]:
        """The middle of an element, which is moved into the window."""
        place = self.value(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); "
            "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect(); "
            "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        return place[0], place[1]

    def mouse(self, kind: str, x: float, y: float) -> None:
        """Move or press the mouse."""
        self.call(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1,
            buttons=0 if kind == "mouseReleased" else 1,
        )  # fmt: skip

    def stroke(self, selector: str, *points: tuple[float, float]) -> None:
        """Draw a line through points of an element: shares of its width and height."""
        self.middle(selector)
        left, top, width, height = self.value(
            f"(b => [b.x, b.y, b.width, b.height])(document.querySelector({json.dumps(selector)})"
            ".getBoundingClientRect())"
        )
        places = [(left + x * width, top + y * height) for x, y in points]
        self.mouse("mousePressed", *places[0])
        for place in places[1:]:
            self.mouse("mouseMoved", *place)
        self.mouse("mouseReleased", *places[-1])

    def key(self, name: str, text: str = "", shift: bool = False) -> None:
        """Press a key. text: what it types."""
        code = {
            "Tab": 9,
            "Enter": 13,
            " ": 32,
            "ArrowLeft": 37,
            "ArrowRight": 39,
            "ArrowUp": 38,
            "ArrowDown": 40,
        }
        common = {"key": name, "windowsVirtualKeyCode": code.get(name, 0), "modifiers": 8 * shift}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def picture(self, path: Path, whole: bool = False) -> None:
        """Write what is seen as a PNG. whole: all of the page."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def file(self, selector: str, path: Path) -> None:
        """Choose a file in a field."""
        node = self.call("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")[
            "result"
        ]["objectId"]
        self.call("DOM.setFileInputFiles", files=[str(path)], objectId=node)

    def drop(self, selector: str, path: Path) -> None:
        """Drop a file in the middle of an element, as people do with a mouse."""
        x, y = self.middle(selector)
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def sent(self) -> dict[str, Any]:
        """What the page asked for last, of the requests with a body."""
        asked = [event for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        request = [event["params"] for event in asked if event["params"]["request"]["method"] == "POST"][-1]
        found: dict[str, Any] = json.loads(
            self.call("Network.getRequestPostData", requestId=request["requestId"])["postData"]
        )
        return found

    def complaints(self) -> list[str]:
        """What the browser has to say of the page: errors, and what its policy forbids."""
        self.value("1")
        return [
            json.dumps(event["params"])
            for event in self.events
            if event.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded")
        ]


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A page in a browser whose files are in ``profile``."""
    command = [
        chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--hide-scrollbars", "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank",
    ]  # fmt: skip
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_read, from_write)]
    # The browser reads its descriptor 3 and writes to 4, which a shell puts in place.
    script = f'exec "$@" 3<&{ends[0]} 4>&{ends[1]}'
    process = subprocess.Popen(
        ["bash", "-c", script, "bash", *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, pass_fds=ends, start_new_session=True,
    )  # fmt: skip
    for end in (to_read, from_write, *ends):
        os.close(end)
    try:
        yield Page(to_write, from_read)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
        os.close(to_write)
        os.close(from_read)
