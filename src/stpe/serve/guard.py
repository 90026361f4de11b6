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
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stpe.errors import StpeError
from stpe.serve import problems
from stpe.serve.admission import Reservation
from stpe.serve.failures import (
    ForbiddenError,
    InvalidInputError,
    SlowBodyError,
    TooLargeError,
    UnauthorizedError,
)
from stpe.serve.services import BodyRule, Services

#: Answered without a key: whether the server lives is for the machine that runs it.
OPEN_PATHS = ("/health", "/health/live", "/health/ready")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_STEP = 1 << 20  # a body of unknown size is admitted so many bytes at a time


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
            self._check(Headers(scope=scope), scope["path"])
        except StpeError as error:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008, "reason": str(error)[:120]})
            else:
                await _answer(error, scope, receive, send)
            return
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        await self._timed(scope, receive, send)

    def _check(self, headers: Headers, path: str) -> None:
        settings = self._services().settings
        if settings.api_key is not None:
            if path not in OPEN_PATHS:
                _check_key(headers, settings.api_key.get_secret_value())
            return
        # Without a key only this machine may ask, and no web page that its browser shows: a page
        # of another site gives itself away by its origin, or by the name it called us by.
        host = headers.get("host", "")
        name = _split(f"//{host}").hostname or ""
        if name != settings.host and not _is_local(name):
            raise ForbiddenError("this server answers to localhost only; set STPE_API_KEY")
        origin = headers.get("origin")
        if origin and origin not in settings.cors_origins and _split(origin).netloc != host:
            raise ForbiddenError("pages of other sites may not call this server")

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
        rule = next(r for r in self._rules if scope["path"].startswith(r.prefix))
        with ExitStack() as stack:
            try:
                size = _declared(Headers(scope=scope))
                if size is not None and size > rule.max_bytes:
                    raise _too_large(rule)
                stack.enter_context(services.admission.request())
                held = services.admission.memory(round((size or 0) * rule.held))
                body = _Body(receive, rule, stack.enter_context(held), size is not None)
            except StpeError as error:
                await _answer(error, scope, receive, send)
                return
            body.idle_s = services.settings.idle_body_s
            await body.serve(self._app, scope, send)


class _Body:
    """The body of one request, counted while it arrives. Past a limit, whatever the application
    made of the break is replaced by the true answer."""

    idle_s = 30.0

    def __init__(self, receive: Receive, rule: BodyRule, held: Reservation, declared: bool) -> None:
        self._receive = receive
        self._rule = rule
        self._held = held
        self._declared = declared
        self._size = self._admitted = 0
        self._complete = False
        self._failure: StpeError | None = None

    async def serve(self, app: ASGIApp, scope: Scope, send: Send) -> None:
        started = False

        async def guarded(message: Message) -> None:
            nonlocal started
            if self._failure is not None and not started:
                return
            started = True
            await send(message)

        try:
            await app(scope, self.receive, guarded)
        except StpeError:
            if self._failure is None:
                raise
        if self._failure is not None and not started:
            await _answer(self._failure, scope, self._receive, send)

    async def receive(self) -> Message:
        if self._failure is not None:
            raise self._failure
        if self._complete:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), self.idle_s)
            if message["type"] == "http.request":
                self._count(len(message.get("body", b"")))
                self._complete = not message.get("more_body", False)
        except TimeoutError:
            self._failure = SlowBodyError(f"nothing of the body came for {self.idle_s:g} s")
        except StpeError as error:
            self._failure = error
        if self._failure is not None:
            raise self._failure
        return message

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > self._rule.max_bytes:
            raise _too_large(self._rule)
        while not self._declared and self._size > self._admitted:
            self._held.grow(round(_STEP * self._rule.held))
            self._admitted += _STEP


def _declared(headers: Headers) -> int | None:
    text = headers.get("content-length")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise InvalidInputError("Content-Length is not a number")
    return int(text)


def _too_large(rule: BodyRule) -> TooLargeError:
    return TooLargeError(f"the body is larger than the {rule.max_bytes} bytes allowed here")


def _check_key(headers: Headers, key: str) -> None:
    given = headers.get("x-api-key")
    if given is None:
        scheme, _, rest = headers.get("authorization", "").partition(" ")
        given = rest.strip() if scheme.lower() == "bearer" else ""
    # Starlette decodes headers as Latin-1; as bytes the comparison takes any text.
    if not hmac.compare_digest(given.encode("latin-1"), key.encode("utf-8")):
        raise UnauthorizedError("give the key as `Authorization: Bearer KEY` or `X-API-Key: KEY`")


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


async def _answer(error: StpeError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer before the body has been read; the connection cannot be used again then."""
    response = problems.of_error(error)
    response.headers["Connection"] = "close"
    await response(scope, receive, send)
