"""Server-sent events to one client, who may be slow, or gone without a word."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

STALL_SECONDS = 20.0  # that a client may take for one event before it is given up
_BEAT_SECONDS = 5.0  # without an event: then a comment is sent, which finds out who is gone


class Events:
    """Events from the devices' threads to one client. They are kept until it takes them: a request has at
    most as many as it has network samples, so nobody waits for a slow client."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()

    def send(self, name: str, numbers: dict[str, Any]) -> None:
        """Hand over an event, from any thread. The one called ``end`` is the last."""
        text = f"event: {name}\ndata: {json.dumps(numbers, separators=(',', ':'))}\n\n"
        with suppress(RuntimeError):  # the loop is closed: the server has ended, and so has the connection
            self._loop.call_soon_threadsafe(self._queue.put_nowait, text.encode())

    async def __aiter__(self) -> AsyncIterator[bytes]:
        item = b""
        while not item.startswith(b"event: end\n"):
            try:
                async with asyncio.timeout(_BEAT_SECONDS):
                    item = await self._queue.get()
            except TimeoutError:
                item = b": wait\n\n"
            yield item


class EventStream(StreamingResponse):
    """A response of server-sent events, which ends if the client takes none for STALL_SECONDS.

    ended: called when the response is over, however it came to that.
    """

    media_type = "text/event-stream"

    def __init__(self, events: Events, ended: Callable[[], None]) -> None:
        super().__init__(events)
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events. A client who stalls is dropped without a word, as it would not read one."""

        async def in_time(message: Message) -> None:
            async with asyncio.timeout(STALL_SECONDS):
                await send(message)

        try:
            with suppress(TimeoutError, ClientDisconnect):
                await super().__call__(scope, receive, in_time)
        finally:
            self._ended()
