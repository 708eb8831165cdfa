"""Serve the application on a socket, until it is stopped."""

import asyncio
import re
import socket

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from synflip.errors import SynflipError
from synflip.serve.app import Hub, make_app
from synflip.serve.guard import LEAST_TOKEN, is_loopback

_END_SECONDS = 3  # that answers are given to end when the server stops
_CONNECTIONS = 512  # more are answered with status 503
HEAD_SECONDS = 10.0  # that the head of a request may take
_ANY = {"0.0.0.0", "::", ""}  # all addresses of this machine


def listen(host: str, port: int, token: str | None) -> socket.socket:
    """A socket that listens at ``host`` and ``port``, 0 for any that is free.

    Raises SynflipError if it is taken, and if others than this machine would reach it without a token.
    """
    if not is_loopback(host) and token is None:
        raise SynflipError(
            f"--host {host} lets other machines in: give --token too, {LEAST_TOKEN} letters or more"
        )
    if token is not None and not re.fullmatch(rf"[A-Za-z0-9._~-]{{{LEAST_TOKEN},}}", token):
        raise SynflipError(f"a token has at least {LEAST_TOKEN} characters: letters, digits, and ._~-")
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host.strip("[]") or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        there = socket.socket(family, kind)
        try:
            there.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            there.bind(address)
            there.listen(128)
        except OSError:
            there.close()
            raise
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SynflipError(
            f"cannot serve at port {port} of {host}: {reason}; --port and --host give another"
        ) from None
    return there


def address_of(there: socket.socket, host: str, token: str | None) -> str:
    """What to open in a browser. A token is in the part of the address that a browser keeps to itself."""
    name = f"[{host}]" if ":" in host and not host.startswith("[") else host
    if host in _ANY:
        name = socket.gethostname()
    return f"http://{name}:{there.getsockname()[1]}/" + ("" if token is None else f"#token={token}")


class Connection(H11Protocol):
    """A connection to a client, which is closed if it does not ask in HEAD_SECONDS: silent ones, and those
    that send a letter now and then, would otherwise have all of _CONNECTIONS for ever."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of a request, unless an answer is under way."""
        super().data_received(data)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        super().connection_lost(exc)
        if self._late is not None:
            self._late.cancel()

    def _expect(self) -> None:
        answering = self.cycle is not None and not self.cycle.response_complete
        if self._late is None and not answering:
            self._late = self.loop.call_later(HEAD_SECONDS, self.timeout_keep_alive_handler)
        elif self._late is not None and answering:
            self._late.cancel()
            self._late = None


class Server(uvicorn.Server):
    """Serves a hub; when it stops, every answer ends with a word, and the hub is closed.

    host: as given to ``listen``. Ctrl-C and SIGTERM stop it, and so does ``should_exit`` from any thread.
    """

    def __init__(self, hub: Hub, host: str, token: str | None = None) -> None:
        self.hub = hub
        name = host.strip("[]").lower()
        hosts = {name, f"[{name}]", "localhost", "127.0.0.1", "[::1]"} if is_loopback(host) else ()
        config = uvicorn.Config(
            make_app(hub, hosts, token),
            log_level="critical",
            access_log=False,
            http=Connection,
            lifespan="off",
            server_header=False,
            ws="none",
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=_END_SECONDS,
        )
        super().__init__(config)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the answers, then the connections."""
        await asyncio.to_thread(self.hub.close)
        await super().shutdown(sockets)
