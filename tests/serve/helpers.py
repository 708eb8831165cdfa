"""What the tests of the live page share: a model, a server in a thread, a client; all have deadlines."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from synflip.data.dataset import Dataset
from synflip.data.registry import load
from synflip.golden.cpu import Golden
from synflip.inference.device import Device
from synflip.inference.result import Result
from synflip.serve.app import Hub
from synflip.serve.facts import TestSet
from synflip.serve.server import Server, listen
from synflip.spec.model import CompiledModel

from tests.networks import random_model

SECONDS = 600.0  # on a busy machine


def digits_model() -> CompiledModel:
    """A random network of the digits' size, whose file says what the page shows."""
    source = {"data": "digits", "logit_scale": 700.0, "energy_threshold": -3.0}
    model = random_model((64, 20, 10))
    return replace(model, source=source, input_max=16, classes=tuple("0123456789"))


def infer(model: CompiledModel, pixels: Any, samples: int, seed: int, margin: int | None = None) -> Result:
    """What the page must say."""
    with Golden() as golden:
        golden.load(model)
        return golden.infer(pixels, samples, seed, margin, logits=True)


def opened(model: CompiledModel, device: Device) -> Device:
    """The device with the model loaded."""
    device.load(model)
    return device


def hub_of(
    model: CompiledModel,
    devices: Mapping[str, Device] | None = None,
    data: bool | Dataset = False,
    name: str = "m.safetensors",
    open_again: Callable[[str], Device] | None = None,
) -> Hub:
    """A hub with a golden device, or other ones, and perhaps the digits, or other data, as its test set."""
    devices = devices or {"golden": Golden()}
    found = load("digits") if data is True else data
    tests = TestSet(found) if found else TestSet(None, "There is no test set here.")
    loaded = {key: opened(model, device) for key, device in devices.items()}
    return Hub(name, model, loaded, tests, open_again)


class Client:
    """Requests to a server at ``port`` of this machine."""

    def __init__(self, port: int, server: Server) -> None:
        self.port, self.server = port, server
        self.url = f"http://127.0.0.1:{port}/"

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> http.client.HTTPResponse:
        """The answer, whose body is not read yet."""
        connection = self.connect()
        connection.request(
            method, path, body, {name.replace("_", "-"): text for name, text in headers.items()}
        )
        return connection.getresponse()

    def get(self, path: str, **headers: str) -> Any:
        """What is said at a path, which must be there."""
        with self.ask("GET", path, **headers) as answer:
            body = answer.read()
            assert answer.status == 200, body
            return json.loads(body)

    def begin(self, page: str = "", /, **asked: Any) -> http.client.HTTPResponse:
        """The answer to a run, which comes in later. page: who asks."""
        headers = {"Content_Type": "application/json", "Synflip_Page": page}
        return self.ask("POST", "/api/run", json.dumps(asked).encode(), **headers)

    def run(self, **asked: Any) -> list[tuple[str, dict[str, Any]]]:
        """All events of a run."""
        with self.begin(**asked) as answer:
            assert answer.status == 200, answer.read()
            return events(answer.read())

    def refused(self, **asked: Any) -> tuple[int, str]:
        """Status and the one line of a run that is refused."""
        with self.begin(**asked) as answer:
            return answer.status, line(answer.read())


def line(body: bytes) -> str:
    """The one line of an answer that refuses."""
    said = json.loads(body)
    assert list(said) == ["error"]
    text: str = said["error"]
    assert text and "\n" not in text and "Traceback" not in text
    return text


def events(body: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Names and numbers of server-sent events."""
    found = []
    for text in body.decode().split("\n\n")[:-1]:
        name, _, data = text.partition("\n")
        if name != ": wait":
            found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def samples(found: list[tuple[str, dict[str, Any]]], device: int = 0) -> list[dict[str, Any]]:
    """The samples of a device."""
    return [numbers for name, numbers in found if name == "sample" and numbers["device"] == device]


@contextmanager
def served(hub: Hub, host: str = "127.0.0.1", token: str | None = None) -> Iterator[Client]:
    """A server in a thread, which has ended when the block does."""
    with listen(host, 0, token) as there:
        server = Server(hub, host, token)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [there]}, daemon=True)
        thread.start()
        try:
            wait(lambda: server.started)
            yield Client(there.getsockname()[1], server)
        finally:
            server.should_exit = True
            thread.join(SECONDS)
            assert not thread.is_alive(), "the server does not end"


def wait(true: Any) -> None:
    """Until a function says true."""
    until = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < until, "it never comes true"
        time.sleep(0.01)


def image(number: int, wide: int = 64, largest: int = 16) -> NDArray[np.uint8]:
    """A random image [1, I]."""
    return np.random.default_rng(number).integers(0, largest + 1, (1, wide)).astype(np.uint8)
