"""``synflip serve``: what it refuses before it serves, and that it serves until it is ended."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from synflip.cli.app import main
from synflip.cli.serve import _tests
from synflip.errors import DeviceWarning, SynflipError
from synflip.serve.server import Server

from tests.cli.helpers import fails
from tests.networks import random_model

SECONDS = 300.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "--host 0.0.0.0 lets other machines in: give --token too"),
        (["--host", "0.0.0.0", "--token", "short"], "a token has at least 16"),
        (["--token", "with a blank in it, long"], "a token has at least 16"),
        (
            ["--host", "no.such.host.invalid", "--token", "t" * 16],
            "cannot serve at port 8765 of no.such.host.invalid",
        ),
        (["--device", "golden", "--device", "golden"], "the same --device comes twice"),
        (["--device", "/dev/nothing", "--port", "0"], "/dev/nothing"),
        (["--data", "digits", "--port", "0"], "images"),
    ],
)
def test_what_is_refused(
    files: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert message in fails(capsys, "serve", "m.safetensors", *arguments)


def test_a_port_that_is_taken(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:
        port = str(there.getsockname()[1])
        assert f"cannot serve at port {port}" in fails(capsys, "serve", "m.safetensors", "--port", port)


def test_the_test_set_is_the_model_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYNFLIP_DATA", raising=False)
    digits = replace(
        random_model((64, 10)), source={"data": "digits"}, input_max=16, classes=tuple(map(str, range(10)))
    )
    assert _tests(digits, None, None, True, None).data is not None
    other = _tests(
        replace(digits, source={"data": "digits", "data_sha256": "0" * 64}), None, None, True, None
    )
    assert other.data is None and "trained on other data" in other.why
    for source in ({}, {"data": "mine.csv"}, {"data": "mnist"}):  # which would have to be fetched
        none = _tests(replace(digits, source=source), None, None, True, None)
        assert none.data is None and "--data" in none.why
    with pytest.raises(SynflipError, match="the model has 9 classes and digits has 10"):
        _tests(random_model((64, 9)), "digits", None, True, None)
    words = replace(digits, classes=("zero", *digits.classes[1:]))
    with pytest.raises(SynflipError, match="class 0 of digits is 0, that of the model zero"):
        _tests(words, "digits", None, True, None)


#: A background job of a shell ignores Ctrl-C.
COMMAND = """import signal, sys
from synflip.cli.app import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main(sys.argv[1:]))"""


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command in a process of its own, which is gone after the block; and the line that it prints."""
    command = [sys.executable, "-c", COMMAND, "serve", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline()
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_ended(files: Path, number: signal.Signals) -> None:
    token = "t" * 16
    with running("m.safetensors", "--port", "0", "--token", token) as (process, said):
        match = re.fullmatch(
            rf"12-20-5 at http://127\.0\.0\.1:(\d+)/#token={token} \(Ctrl-C ends it\)\n", said
        )
        assert match, process.communicate(timeout=SECONDS)
        connection = http.client.HTTPConnection("127.0.0.1", int(match[1]), timeout=SECONDS)
        asked = json.dumps({"row": ",".join("7" * 12), "samples": 2})
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        connection.request("POST", "/api/run", asked, headers)
        with connection.getresponse() as answer:
            assert answer.status == 200 and answer.read().endswith(b"event: end\ndata: {}\n\n")
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=SECONDS)
        connection.close()
    assert (process.returncode, out, err) == (0, "ended\n", "")


def test_devices_are_opened_again_and_pools_warn_in_one_line(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(self: Server, sockets: list[socket.socket]) -> None:
        turns = self.hub.turns["golden:16x2"]
        assert turns._open_again is not None
        with turns._open_again() as again:
            assert again.geometry.name == "16x2" and again.model is self.hub.model
        warnings.warn("a left the pool", DeviceWarning, stacklevel=1)
        self.hub.close()

    monkeypatch.setattr(Server, "run", run)
    assert main(["serve", "m.safetensors", "--device", "golden:16x2", "--port", "0"]) == 0
    assert capsys.readouterr().err == "a left the pool\n"


def test_the_model_must_be_one(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "missing.safetensors" in fails(capsys, "serve", "missing.safetensors")
