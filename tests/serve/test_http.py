"""The live page's server: its votes are those of ``infer``; several people share it, and none breaks it."""

import asyncio
import base64
import http.client
import socket
import threading
from contextlib import suppress
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from synflip.devices.pool import Pool
from synflip.errors import DeviceError, SynflipError
from synflip.golden.cpu import Golden
from synflip.inference.request import InferenceRequest, Progress
from synflip.inference.result import Result
from synflip.serve import server, stream, turns
from synflip.serve.answer import coin_window, packed
from synflip.serve.facts import SIZES
from synflip.serve.guard import HEADERS, LEAST_TOKEN
from synflip.serve.inputs import Picture, most_bytes
from synflip.serve.stream import EventStream
from synflip.spec.geometry import Geometry

from tests.networks import random_network
from tests.serve.helpers import (
    SECONDS,
    Client,
    digits_model,
    events,
    hub_of,
    image,
    infer,
    line,
    samples,
    served,
    wait,
)

MODEL = digits_model()
PIXELS = image(3)[0].tolist()


@pytest.fixture(scope="module")
def client():
    with served(
        hub_of(MODEL, {"golden": Golden(), "golden:16x2": Golden(Geometry(16, 2))}, data=True)
    ) as found:
        yield found


def test_every_sample_is_that_of_infer(client: Client) -> None:
    found = client.run(pixels=PIXELS, samples=9, seed=5, margin=3, coins=1)
    assert [name for name, _ in found] == ["start", *["sample"] * 9, "end"]
    for count, event in enumerate(samples(found), 1):
        want = infer(MODEL, [PIXELS], count, 5)
        assert event["sample"] == count and event["last"] == (count == 9)
        assert event["votes"] == want.votes[0].tolist()
        assert (event["winner"], event["runner_up"]) == (want.winner[0], want.runner_up[0])
        assert event["vote"] == want.logits[-1, 0].argmax()
        assert event["posterior"] == pytest.approx(want.posterior[0].tolist())
        for name in ("entropy", "mutual_information", "energy"):
            assert event[name] == pytest.approx(getattr(want, name)[0]), name
        assert event["foreign"] == want.foreign[0]
        left = infer(MODEL, [PIXELS], count, 5, margin=3)
        assert (event["left"] or count) == left.used[0]


def test_the_energy_is_compared_with_the_model_s_threshold() -> None:
    foreign = replace(MODEL, source={**MODEL.source, "energy_threshold": -1e6})
    with served(hub_of(foreign)) as client:
        assert all(event["foreign"] for event in samples(client.run(pixels=PIXELS, samples=2)))
    bare = replace(MODEL, source={})
    with served(hub_of(bare)) as client:
        assert "posterior" not in samples(client.run(pixels=PIXELS, samples=1))[0]
        assert client.get("/api/about")["picture"] is None  # nothing says that 64 numbers are a picture


def test_early_stopping_is_that_of_infer(client: Client) -> None:
    want = infer(MODEL, [PIXELS], 64, 2, margin=4)
    assert 4 <= want.used[0] < 64
    found = samples(client.run(pixels=PIXELS, samples=64, seed=2, margin=4, stop=True))
    assert len(found) == want.used[0] and found[-1]["last"]
    assert found[-1]["votes"] == want.votes[0].tolist()


def test_coins_are_those_of_the_sample(client: Client) -> None:
    with Golden() as golden:
        golden.load(MODEL)
        for layer in (0, 1):
            window = client.get("/api/about")["layers"][layer]
            assert window["height"] * window["width"] == window["inputs"]
            for event in samples(client.run(pixels=PIXELS, samples=3, seed=7, coins=layer)):
                coins = golden.coins(7, event["sample"] - 1)[layer].numpy()
                coins = coins[: window["outputs"], : window["inputs"]].ravel()
                planes = [
                    np.unpackbits(np.frombuffer(base64.b64decode(event["coins"][name]), np.uint8))[
                        : len(coins)
                    ]
                    for name in ("plus", "minus")
                ]
                np.testing.assert_array_equal(planes[0].astype(int) - planes[1], coins)


def test_two_devices_are_compared(client: Client) -> None:
    found = client.run(pixels=PIXELS, samples=5, devices=["golden:16x2", "golden"])
    assert len(samples(found, 0)) == len(samples(found, 1)) == 5
    assert max(event["both"] for event in samples(found, 0) + samples(found, 1)) == 5
    assert all(event["equal"] == event["both"] for event in samples(found, 0) + samples(found, 1))
    assert found[-1] == ("end", {"compared": 5 * 10 + 10 + 10 + 1, "different": 0})
    assert samples(found, 0)[0]["cycles"] != samples(found, 1)[0]["cycles"]  # one is smaller


class Liar(Golden):
    """A device that gives another logit in its third sample."""

    def run(self, request: InferenceRequest, progress: Progress | None = None) -> Result:
        result = super().run(request, progress)
        if request.first == 2:
            result.logits[0, 0, 0] += 1
        return result


def test_a_difference_of_two_devices_is_counted() -> None:
    with served(hub_of(MODEL, {"golden": Golden(), "liar": Liar()})) as client:
        found = client.run(pixels=PIXELS, samples=4, devices=["golden", "liar"])
    assert max((event["both"], event["equal"]) for _, event in found if "both" in event) == (4, 3)
    assert found[-1][1]["different"] == 1


def test_what_is_said_beside_votes(client: Client) -> None:
    about = client.get("/api/about")
    assert about["devices"] == ["golden", "golden:16x2"] and about["coins"] == 64 * 20 + 20 * 10
    shape = {"height": 8, "width": 8, "channels": 1, "channels_first": True}
    assert about["picture"] == {**shape, "least": 0, "largest": 16, "whole": True, "light": True}
    item = client.get("/api/item?number=446")
    assert item == client.get("/api/item?number=1") and len(item["pixels"]) == 64
    found = client.get("/api/tests")
    assert found["images"] == 445 and len(found["most"]) == len(found["least"]) == 10
    for one in (*found["most"], *found["least"]):
        want = infer(MODEL, [one["pixels"]], found["samples"], 0)
        assert one["votes"] == want.votes[0].tolist() and one["entropy"] == pytest.approx(want.entropy[0])
    assert max(one["entropy"] for one in found["most"]) < min(one["entropy"] for one in found["least"])
    large, small = client.get("/api/accelerators")["devices"]
    assert small["coins_a_cycle"] == 32 and small["geometry"] == "16x2"
    assert all(a["cycles"] < b["cycles"] for a, b in zip(large["cycles"], small["cycles"], strict=True))


BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "give pixels"),
    ({"pixels": PIXELS[:-1]}, "64"),
    ({"pixels": [*PIXELS[:-1], 17]}, "pixel 63 of image 0 is 17"),
    ({"pixels": [0.5] * 64}, "pixels are integers"),
    ({"pixels": [10**30] * 64}, "pixels"),
    ({"pixels": [[0] * 64]}, "give pixels"),
    ({"pixels": [None] * 64}, "give pixels"),
    ({"pixels": "/etc/passwd"}, "give pixels"),
    ({"pixels": PIXELS, "row": "1"}, "give pixels"),
    ({"row": "1,2"}, "64"),
    ({"row": "a," * 63 + "b"}, "no number"),
    ({"pixels": PIXELS, "samples": 257}, "samples must be an integer in 1..256"),
    ({"pixels": PIXELS, "samples": True}, "samples must be"),
    ({"pixels": PIXELS, "seed": -1}, "seed must be in"),
    ({"pixels": PIXELS, "seed": "1"}, "the seed must be"),
    ({"pixels": PIXELS, "margin": 0}, "margin must be"),
    ({"pixels": PIXELS, "stop": 1}, "stop must be"),
    ({"pixels": PIXELS, "coins": 2}, "coins, the number of a layer, must be an integer in 0..1"),
    (
        {"pixels": PIXELS, "devices": ["/dev/ttyUSB0"]},
        "no device '/dev/ttyUSB0' is served here; there are golden",
    ),
    ({"pixels": PIXELS, "devices": ["golden", "golden"]}, "one or two different names"),
    ({"pixels": PIXELS, "devices": []}, "one or two"),
    ({"pixels": PIXELS, "devices": [["golden"]]}, "no device"),
    ({"pixels": PIXELS, "model": "/etc/passwd"}, "not model"),
]


@pytest.mark.parametrize(("asked", "message"), BAD)
def test_what_makes_no_sense_is_one_line(client: Client, asked: dict[str, Any], message: str) -> None:
    status, said = client.refused(**asked)
    assert status == 400 and message in said


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"3", b"[" * 5000, b'{"samples": 1' + b"0" * 5000 + b"}", b"\xff"]
)
def test_what_is_no_request_is_one_line(client: Client, body: bytes) -> None:
    with client.ask("POST", "/api/run", body, Content_Type="application/json") as answer:
        assert answer.status == 400 and line(answer.read())


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/api/run", {"Content_Type": "application/json", "Content_Length": "99999999"}, 413),
        ("POST", "/api/run", {"Content_Type": "application/json", "Content_Length": "9" * 19}, 413),
        ("POST", "/api/run", {"Content_Type": "text/plain", "Content_Length": "2"}, 415),
        ("GET", "/api/about", {"Host": "evil.example"}, 421),
        ("GET", "/api/about", {"Origin": "http://evil.example"}, 403),
        ("GET", "/api/run", {}, 405),
        ("GET", "/api/item?number=x", {}, 400),
        ("GET", "/pyproject.toml", {}, 404),
        ("GET", "/../app.py", {}, 404),
        ("GET", "/%2e%2e/app.py", {}, 404),
        ("GET", "//etc/passwd", {}, 404),
        ("GET", "/page.css/../../app.py", {}, 404),
    ],
)
def test_what_is_refused_before_it_is_read(
    client: Client, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    with client.ask(method, path, **headers) as answer:  # of what it announces it sends nothing
        assert answer.status == status
        for name, value in HEADERS.items():
            assert answer.getheader(name) == value


def test_a_body_without_a_length_is_read_no_further_than_it_may_be(client: Client) -> None:
    with socket.create_connection(("127.0.0.1", client.port), timeout=SECONDS) as there:
        there.sendall(
            b"POST /api/run HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        there.sendall(b"4000\r\n" + b" " * 0x4000 + b"\r\n")
        there.sendall(b"4000\r\n" + b" " * 0x4000 + b"\r\n")  # no end
        assert most_bytes(MODEL) < 0x8000
        assert b" 413 " in there.recv(100)


def test_the_page_loads_nothing_from_elsewhere(client: Client) -> None:
    for path, kind in (
        ("/", "html"),
        ("/page.css", "css"),
        ("/main.js", "javascript"),
        ("/grid.js", "javascript"),
    ):
        with client.ask("GET", path) as answer:
            text = answer.read().decode()
            assert answer.status == 200 and kind in (answer.getheader("Content-Type") or "")
            assert "default-src 'none'" in (answer.getheader("Content-Security-Policy") or "")
            assert "://" not in text and "style=" not in text and "innerHTML" not in text


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: local",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nbody",
    ],
    ids=["nothing", "half a head", "half a body that nobody reads"],
)
def test_who_does_not_ask_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    """It would keep one of the connections that there are. An answer may take its time."""
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.05)
    device = Waits()
    with served(hub_of(MODEL, {"slow": device})) as client:
        answer = client.begin(pixels=PIXELS, samples=2)
        with socket.create_connection(("127.0.0.1", client.port), timeout=SECONDS) as there:
            there.sendall(said)
            with suppress(ConnectionResetError, BrokenPipeError):
                while there.recv(1 << 16):  # until the server closes
                    there.sendall(b"y")
        device.may.release(2)
        assert len(samples(events(answer.read()))) == 2
        answer.close()


def test_a_token_is_needed_for_every_number() -> None:
    token = "a" * LEAST_TOKEN
    with served(hub_of(MODEL), "0.0.0.0", token) as client:
        for path in ("/api/about", "/api/tests", "/api/item", "/api/accelerators"):
            with client.ask("GET", path) as answer:
                assert answer.status == 401 and "token" in line(answer.read())
            with client.ask("GET", path, Authorization=f"Bearer {token[1:]}b") as answer:
                assert answer.status == 401
        assert client.refused(pixels=PIXELS)[0] == 401
        assert client.get("/api/about", Authorization=f"Bearer {token}")["network"] == MODEL.shape
        with client.ask("GET", "/", Host="another.name:80") as answer:  # whatever this machine is called
            assert answer.status == 200


def test_fifty_people_at_once() -> None:
    """Each gets the votes of the own seed. One of them never reads, and one is gone at once."""
    with served(hub_of(MODEL)) as client:
        answers = [
            client.begin(str(seed), pixels=PIXELS, samples=6, seed=seed, coins=0) for seed in range(50)
        ]
        answers[7].close()
        for seed, answer in enumerate(answers):
            if seed in (7, 8):
                continue
            found = samples(events(answer.read()))
            assert found[-1]["votes"] == infer(MODEL, [PIXELS], 6, seed).votes[0].tolist()
            answer.close()
        wait(lambda: client.server.hub.turns["golden"].jobs == 0)


class Waits(Golden):
    """A device that gives each sample when it is let, and says which seed it is for."""

    def __init__(self) -> None:
        super().__init__()
        self.may, self.seeds = threading.Semaphore(0), []

    def run(self, request: InferenceRequest, progress: Progress | None = None) -> Result:
        assert self.may.acquire(timeout=SECONDS)
        self.seeds.append(request.seed)
        return super().run(request, progress)


def test_turns_are_fair() -> None:
    device = Waits()
    with served(hub_of(MODEL, {"slow": device})) as client:
        slow = client.server.hub.turns["slow"]
        first = client.begin("first", pixels=PIXELS, samples=5, seed=1)
        wait(lambda: slow.jobs == 1)
        others = [client.begin(f"other {seed}", pixels=PIXELS, samples=2, seed=seed) for seed in (2, 3)]
        wait(lambda: slow.jobs == 3)
        device.may.release(9)
        for answer in (first, *others):
            assert answer.read().endswith(b"\n\n")
            answer.close()
        assert device.seeds in ([1, 2, 3, 1, 2, 3, 1, 1, 1], [1, 3, 2, 1, 3, 2, 1, 1, 1])


def test_turns_are_people_s_not_runs_(monkeypatch: pytest.MonkeyPatch) -> None:
    """One who asks for much has every other turn beside one who asks for little, and leaves room."""
    monkeypatch.setattr(turns, "MOST_OF_ONE", 3)
    device = Waits()
    with served(hub_of(MODEL, {"slow": device})) as client:
        slow = client.server.hub.turns["slow"]
        greedy = []
        for seed in (1, 2, 3):
            greedy.append(client.begin("greedy", pixels=PIXELS, samples=2, seed=seed))
            wait(lambda count=len(greedy): slow.jobs == count)
        with client.begin("greedy", pixels=PIXELS) as answer:
            assert answer.status == 503
            assert line(answer.read()) == "3 runs of yours share slow already; try again in a moment"
        modest = client.begin("modest", pixels=PIXELS, samples=3, seed=9)
        wait(lambda: slow.jobs == 4)
        device.may.release(9)
        for answer in (*greedy, modest):
            assert samples(events(answer.read()))
            answer.close()
        assert device.seeds == [1, 2, 9, 3, 9, 1, 9, 2, 3]
        wait(lambda: slow.jobs == 0)
        client.begin("greedy", pixels=PIXELS, samples=1).close()  # there is room again


def test_who_is_gone_takes_no_more_turns() -> None:
    device = Waits()
    with served(hub_of(MODEL, {"slow": device})) as client:
        answer = client.begin(pixels=PIXELS, samples=200)
        device.may.release(2)
        assert answer.read(10)
        answer.close()
        wait(lambda: [device.may.release(), client.server.hub.turns["slow"].jobs == 0][1])
        assert len(device.seeds) < 200


def test_too_many_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "MOST_JOBS", 1)
    device = Waits()
    with served(hub_of(MODEL, {"slow": device, "golden": Golden()})) as client:
        first = client.begin(pixels=PIXELS, samples=1)
        wait(lambda: client.server.hub.turns["slow"].jobs == 1)
        assert client.refused(pixels=PIXELS) == (503, "1 runs share slow already; try again in a moment")
        assert client.refused(pixels=PIXELS, devices=["golden", "slow"])[0] == 503
        wait(lambda: client.server.hub.turns["golden"].jobs == 0)  # what had begun there is taken back
        device.may.release()
        assert samples(events(first.read()))
        first.close()


class Junctions(Golden):
    """A device whose samples have no numbers."""

    numbered = False

    def run(self, request: InferenceRequest, progress: Progress | None = None) -> Result:
        assert not request.first
        return super().run(request, progress)


def test_a_pool_with_tunnel_junctions_is_not_asked_for_samples_by_number() -> None:
    pool = Pool([("golden", Golden()), ("junctions", Junctions())])
    with served(hub_of(MODEL, {"pool": pool})) as client:
        found = samples(client.run(pixels=PIXELS, samples=3, coins=0))
    assert len(found) == 3 and not any(event["coins"] for event in found)


class Breaks(Golden):
    """A device that fails at its third sample, as it is told to."""

    error: Exception = SynflipError("the cable\nis out")

    def run(self, request: InferenceRequest, progress: Progress | None = None) -> Result:
        if request.first == 2 and request.seed == 0:
            raise self.error
        return super().run(request, progress)


@pytest.mark.parametrize("error", [Breaks.error, RuntimeError("odd")])
def test_a_device_that_fails_fails_one_run(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Breaks, "error", error)
    with served(hub_of(MODEL, {"bad": Breaks(), "golden": Golden()})) as client:
        found = client.run(pixels=PIXELS, samples=4)
        assert [name for name, _ in found] == ["start", "sample", "sample", "failed", "end"]
        said = found[-2][1]["error"]
        assert ("the cable" in said or "RuntimeError: odd" in said) and "\n" not in said
        both = client.run(pixels=PIXELS, samples=4, devices=["golden", "bad"])
        assert len(samples(both, 0)) == 4 and both[-1] == ("end", {})
        assert len(samples(client.run(pixels=PIXELS, samples=4, seed=1))) == 4


class Board(Golden):
    """A board that somebody may reset: then it answers nobody until it is opened again."""

    reset = False

    def run(self, request: InferenceRequest, progress: Progress | None = None) -> Result:
        if self.reset:
            raise DeviceError("the device was reset or taken over; open it again")
        return super().run(request, progress)


def test_a_device_that_failed_is_opened_again() -> None:
    boards, plugged = [Board()], True

    def open_again(name: str) -> Board:
        assert name == "board" and boards[-1].model is None  # closed, so that its port is free
        if not plugged:
            raise SynflipError("board cannot be opened")
        boards.append(Board())
        boards[-1].load(MODEL)
        return boards[-1]

    with served(hub_of(MODEL, {"board": boards[0]}, open_again=open_again)) as client:
        for _ in range(2):
            found = samples(client.run(pixels=PIXELS, samples=4))
            assert found[-1]["votes"] == infer(MODEL, [PIXELS], 4, 0).votes[0].tolist()
            boards[-1].reset, plugged = True, False
            for said in ("reset or taken over", "board cannot be opened"):
                names, (_, failed, _) = zip(*client.run(pixels=PIXELS, samples=4), strict=True)
                assert names == ("start", "failed", "end") and said in failed["error"]
            plugged = True
    assert len(boards) == 2 and boards[-1].model is None


def test_the_server_ends_in_the_middle_of_a_run() -> None:
    device = Waits()
    with served(hub_of(MODEL, {"slow": device})) as client:
        answer = client.begin(pixels=PIXELS, samples=9)
        device.may.release(1)
        wait(lambda: len(device.seeds) == 1)
        client.server.should_exit = True
        wait(lambda: client.server.hub.turns["slow"]._closed)
        device.may.release(1)  # the turn that is under way
        found = events(answer.read())
        answer.close()
    assert found[-2:] == [("failed", {"device": 0, "error": "the server is stopping"}), ("end", {})]
    assert device.model is None  # closed
    with pytest.raises((OSError, http.client.HTTPException)):
        client.get("/api/about")


def test_a_client_who_stalls_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its transport takes nothing, for ever."""
    monkeypatch.setattr(stream, "STALL_SECONDS", 0.01)
    ended: list[bool] = []

    async def never(*_: Any) -> Any:
        await asyncio.Event().wait()

    async def drop() -> None:
        there = stream.Events()
        there.send("sample", {})
        scope = {"type": "http", "asgi": {"spec_version": "2.3"}}
        await asyncio.wait_for(EventStream(there, lambda: ended.append(True))(scope, never, never), SECONDS)

    asyncio.run(drop())
    assert ended == [True]


def test_every_size_has_its_words() -> None:
    assert set(SIZES) == {item.name for item in fields(Geometry)}


def test_coins_that_are_shown_are_few() -> None:
    for sizes in ((8, 5), (3000, 700), (784, 512, 10)):
        model = random_network(np.random.default_rng(0), sizes)
        for layer in range(len(model.layers)):
            window = coin_window(model, layer, None)
            assert window["outputs"] * window["inputs"] <= 48 * 96


@pytest.mark.parametrize("side", [28, 64, 181, 200])
def test_pictures_of_coins_are_small_events(side: int) -> None:
    """Up to 256 of them, of each of 64 runs, may wait for slow readers."""
    model = random_network(np.random.default_rng(0), (side * side, 16))
    window = coin_window(model, 0, Picture(side, side, 1, True, 255))
    assert window["height"] == (1 if side == 200 else side) and window["outputs"] >= 1
    shown = packed(np.ones((window["outputs"], window["inputs"]), dtype=np.int8))
    assert sum(map(len, shown.values())) < 11_000
