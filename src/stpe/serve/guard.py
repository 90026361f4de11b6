"""What stands before every API: key, host, origin, size of the body, room in the queue."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stpe.errors import StpeError
from stpe.serve import problems, tickets
from stpe.serve.body import Body, too_large
from stpe.serve.failures import (
    ClientLeftError,
    ForbiddenError,
    InvalidInputError,
    UnauthorizedError,
)
from stpe.serve.routes.documentation import PATHS
from stpe.serve.services import BodyRule, Services

#: Answered without a key: whether the server lives is for the machine that runs it.
OPEN_PATHS = ("/health", "/health/live", "/health/ready")
_OPEN = frozenset((*OPEN_PATHS, *PATHS))
_FOREIGN = "pages of other sites may not call this server; allow their origin in its settings"
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def caller(request: HTTPConnection) -> str | None:
    """Name of the key that a request carries; None where keys have no names."""
    found: str | None = request.scope.get("stpe.client")
    return found


class Guard:
    """ASGI middleware."""

    def __init__(
        self, app: ASGIApp, services: Callable[[], Services], rules: Sequence[BodyRule]
    ) -> None:
        self._app = app
        self._services = services
        self._rules = sorted(rules, key=lambda rule: -len(rule.prefix))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer why not."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
        except StpeError as error:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008, "reason": str(error)[:120]})
            else:
                await problems.answer_early(error, scope, receive, send)
            return
        if scope["type"] == "websocket":
            await self._app(scope, self._spoken(receive), send)
            return
        await self._timed(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        settings, headers = self._services().settings, Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        foreign = bool(
            origin and origin not in settings.cors_origins and _split(origin).netloc != host
        )
        if settings.api_key is not None:
            if scope["path"] not in _OPEN:
                _check_key(scope, headers, settings.api_key.get_secret_value(), foreign)
            return
        # Without a key only this machine may ask, and no web page that its browser shows: a page
        # of another site gives itself away by its origin, or by the name it called us by.
        name = _split(f"//{host}").hostname or ""
        if name != settings.host and not _is_local(name):
            raise ForbiddenError("this server answers to localhost only; set STPE_API_KEY")
        if foreign:
            raise ForbiddenError(_FOREIGN)

    def _spoken(self, receive: Receive) -> Receive:
        """`receive` of a WebSocket whose client is taken for gone if it never says anything."""
        said = 0

        async def receive_first() -> Message:
            nonlocal said
            if said == 1:  # the first was that it wants to connect
                wait_s = self._services().settings.head_s
                try:
                    message = await asyncio.wait_for(receive(), wait_s)
                except TimeoutError:
                    message = {"type": "websocket.disconnect", "code": 1008, "reason": "silent"}
            else:
                message = await receive()
            said += 1
            return message

        return receive_first

    async def _timed(self, scope: Scope, receive: Receive, send: Send) -> None:
        metrics = self._services().metrics
        begun = time.perf_counter()
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._admitted(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path_format", "unknown")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            metrics.requests.labels(method, route, str(status)).inc()
            metrics.request_seconds.labels(route).observe(time.perf_counter() - begun)

    async def _admitted(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in ("POST", "PUT", "PATCH"):
            await self._app(scope, receive, send)
            return
        services = self._services()
        admission = services.admission
        rule = next(r for r in self._rules if scope["path"].startswith(r.prefix))
        with ExitStack() as stack:
            body = Body(receive, rule, stack.enter_context(admission.memory(0)), services.settings)
            try:
                size = _declared(Headers(scope=scope)) or 0
                if size > rule.max_bytes:
                    raise too_large(rule)
                if rule.held:
                    admission.check(round(size * rule.held))
                    # Here before it has a place in the queue: what is announced costs nothing, so
                    # it must not hold what others need.
                    await body.gather()
                    stack.enter_context(admission.request())
            except ClientLeftError:
                return
            except StpeError as error:
                await problems.answer_early(error, scope, receive, send)
                return
            await body.serve(self._app, scope, send)


def _declared(headers: Headers) -> int | None:
    text = headers.get("content-length")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise InvalidInputError("Content-Length is not a number")
    return int(text)


def _check_key(scope: Scope, headers: Headers, key: str, foreign: bool) -> None:
    """A key in a header proves itself. Browsers open WebSockets for any page that asks, so those,
    and tickets, are for pages of this server and of the origins that it allows."""
    if foreign and (scope["type"] == "websocket" or b"ticket=" in scope["query_string"]):
        raise ForbiddenError(_FOREIGN)
    reading = scope["type"] == "websocket" or scope["method"] == "GET"
    if reading and tickets.accepts(key, scope["path"], scope["query_string"]):
        return
    given = headers.get("x-api-key")
    if given is None:
        scheme, _, rest = headers.get("authorization", "").partition(" ")
        given = rest.strip() if scheme.lower() == "bearer" else ""
    # Starlette decodes headers as Latin-1; as bytes the comparison takes any text.
    if not hmac.compare_digest(given.encode("latin-1"), key.encode("utf-8")):
        raise UnauthorizedError(
            "give the key as `Authorization: Bearer KEY` or `X-API-Key: KEY`, or, where headers "
            "cannot be sent, a ticket of POST /api/v1/tickets as `?ticket=`"
        )


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise ForbiddenError("Host or Origin is not an address") from None


def _is_local(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
