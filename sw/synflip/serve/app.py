"""The HTTP side: the page's files, what is said of model and devices, and streams of votes."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from synflip.errors import SynflipError
from synflip.golden.cpu import Golden
from synflip.inference.device import Device
from synflip.serve.answer import Answer
from synflip.serve.facts import TestSet, about_device, about_model, certainty
from synflip.serve.guard import Guard, Refused, body_of, person_of, refusal
from synflip.serve.inputs import Asked, most_bytes
from synflip.serve.stream import Events, EventStream
from synflip.serve.turns import Busy, Turns
from synflip.spec.model import CompiledModel

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}


class Once:
    """What a function makes in a thread when it is first asked for; whoever asks meanwhile waits for it."""

    def __init__(self, make: Callable[[], dict[str, Any]]) -> None:
        self._make = make
        self._task: asyncio.Task[dict[str, Any]] | None = None

    async def __call__(self) -> dict[str, Any]:
        """What was made. Raises what making it raises; then it is made again for the next one who asks."""
        if self._task is None or (self._task.done() and self._task.exception() is not None):
            self._task = asyncio.create_task(run_in_threadpool(self._make))
        return await asyncio.shield(self._task)


class Hub:
    """A model, the devices that run it, and images to try: what all requests share.

    name: of the model's file. devices: by the names that they are asked for with; the model is loaded in
    each. open_again: gives a device that failed anew, by its name, with the model loaded; None: those that
    there are go on. ``close`` closes them.
    """

    def __init__(
        self,
        name: str,
        model: CompiledModel,
        devices: Mapping[str, Device],
        tests: TestSet,
        open_again: Callable[[str], Device] | None = None,
    ) -> None:
        self.model, self.tests = model, tests
        self.picture = tests.picture(model)
        self.golden = Golden(predict=False)  # shows coins, and counts the votes of test images
        self.golden.load(model)
        self.turns = {
            name: Turns(name, device, None if open_again is None else partial(open_again, name))
            for name, device in devices.items()
        }
        self.about = about_model(name, model, tests) | {"devices": list(devices)}
        self.certainty = Once(partial(certainty, tests, model, self.golden))
        self.accelerators = {
            name: Once(partial(about_device, name, device, tests, model)) for name, device in devices.items()
        }

    def close(self) -> None:
        """End every answer, and close the devices."""
        for turns in self.turns.values():
            turns.end()
        for turns in self.turns.values():
            turns.close()
        self.golden.close()

    def ask(self, asked: Asked, events: Events, person: str) -> Answer:
        """An answer whose events come to ``events``. person: who asks. Raises Busy."""
        answer = Answer(asked, self.golden, self.picture, events.send)
        events.send("start", {"waiting": [self.turns[name].jobs for name in asked.devices]})
        try:
            for name, part in zip(asked.devices, answer.parts, strict=True):
                self.turns[name].add(part, person)
        except SynflipError:
            answer.cancel()
            raise
        return answer


def make_app(hub: Hub, hosts: Iterable[str] = (), token: str | None = None) -> Starlette:
    """The application. hosts, token: as of ``Guard``."""

    async def about(request: Request) -> Response:
        return JSONResponse(hub.about)

    async def run(request: Request) -> Response:
        body = await body_of(request, most_bytes(hub.model))
        asked = await run_in_threadpool(Asked.of, body, hub.model, list(hub.turns))
        events = Events()
        answer = hub.ask(asked, events, person_of(request))
        return EventStream(events, answer.cancel)

    async def item(request: Request) -> Response:
        number = request.query_params.get("number", "0")
        if not number.isdecimal() or len(number) > 9:
            raise SynflipError("number is a whole number")
        return JSONResponse(hub.tests.item(int(number), hub.model))

    async def tests(request: Request) -> Response:
        return JSONResponse(await hub.certainty())

    async def accelerators(request: Request) -> Response:
        found = [await about() for about in hub.accelerators.values()]
        return JSONResponse({"devices": found})

    routes = [
        *(Route(path, _file(content, kind)) for path, content, kind in _page()),
        Route("/api/about", _said(about)),
        Route("/api/run", _said(run), methods=["POST"]),
        Route("/api/item", _said(item)),
        Route("/api/tests", _said(tests)),
        Route("/api/accelerators", _said(accelerators)),
    ]
    return Starlette(routes=routes, middleware=[Middleware(Guard, hosts=hosts, token=token)])


def _page() -> Iterable[tuple[str, bytes, str]]:
    """Path, content and type of each file of the page. They are read once: no request names a file."""
    for file in sorted(files("synflip.serve").joinpath("page").iterdir(), key=lambda file: file.name):
        kind = _TYPES.get(file.name.rpartition(".")[2])
        if kind is not None:
            yield "/" if file.name == "index.html" else f"/{file.name}", file.read_bytes(), kind


def _file(content: bytes, kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return Response(content, media_type=kind)

    return endpoint


def _said(
    endpoint: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """``endpoint``, whose SynflipErrors are answers of one line."""

    async def wrapped(request: Request) -> Response:
        try:
            return await endpoint(request)
        except Refused as error:
            return refusal(error)
        except SynflipError as error:
            return refusal(Refused(503 if isinstance(error, Busy) else 400, str(error)))

    return wrapped
