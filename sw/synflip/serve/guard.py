"""Who may ask, how much they may send, and what a browser may do with the answer."""

import asyncio
import hmac
import ipaddress
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from synflip.errors import SynflipError

READ_SECONDS = 10.0  # that the body of a request may take
LEAST_TOKEN = 16  # letters
PAGE, MOST_PAGE = "synflip-page", 64  # header with a page's name for itself, and its letters
#: Nothing is loaded, sent or embedded anywhere but here; there is no script or style in the page's text.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_NUMBERS = "/api/"  # of paths that the token is for: the page itself says nothing of the model


class Refused(SynflipError):
    """A request that gets ``status`` and one line."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches ``host``."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


class Guard:
    """ASGI middleware: refuses requests for other hosts, from other sites, and without the token.

    hosts: names that a request may be for; empty: any. Pages of other sites could otherwise talk to a server
    on loopback under a name that they make point there. token: that requests for numbers must bear, or None.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str] = (), token: str | None = None) -> None:
        self._app, self._hosts, self._token = app, frozenset(hosts), token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it; every answer has HEADERS."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        try:
            self._check(scope["path"], Headers(scope=scope))
        except Refused as error:
            return await refusal(error)(scope, receive, with_headers)
        return await self._app(scope, receive, with_headers)

    def _check(self, path: str, headers: Headers) -> None:
        host = headers.get("host", "")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        if self._hosts and name.lower() not in self._hosts:
            raise Refused(421, "this server does not serve that host")
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            raise Refused(403, "another site's page may not ask here")
        if self._token is None or not path.startswith(_NUMBERS):
            return
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(given.encode(), self._token.encode()):
            raise Refused(
                401, "the token is missing or wrong: open the whole address that synflip serve printed"
            )


def refusal(error: Refused) -> JSONResponse:
    """The answer to a request that is refused."""
    return JSONResponse({"error": str(error)}, error.status)


def person_of(request: Request) -> str:
    """Who asks, for fair turns: an address, and the name that the page there has made up for itself. Several
    people may come from one address, through a tunnel or from this machine."""
    address = "" if request.client is None else request.client.host
    return f"{address} {request.headers.get(PAGE, '')[:MOST_PAGE]}"


async def body_of(request: Request, most: int) -> bytes:
    """The body of a JSON request of at most ``most`` bytes; a longer one is refused before it is read. Raises
    Refused."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Refused(415, "a request is application/json")
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > 18 or int(length) > most:
        raise Refused(413, f"a request has at most {most} bytes")
    body = bytearray()
    try:
        async with asyncio.timeout(READ_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise Refused(413, f"a request has at most {most} bytes")
    except TimeoutError:
        raise Refused(408, f"the request took more than {READ_SECONDS:g} seconds to arrive") from None
    except ClientDisconnect:
        raise Refused(400, "the request was cut off") from None
    return bytes(body)
