"""What is done with every request before anything else: an id, whose key it carries, how much that
key may ask, a deadline, a span."""

from __future__ import annotations

import asyncio
import math

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stpe.errors import StpeError
from stpe.serve import problems, request, tracing
from stpe.serve.failures import DeadlineError, InvalidInputError
from stpe.serve.keys import Keys, Quotas
from stpe.serve.settings import Settings

TIMEOUT_HEADER = "X-Request-Timeout"


class Entry:
    """ASGI middleware, the outermost."""

    def __init__(self, app: ASGIApp, settings: Settings, keys: Keys, quotas: Quotas) -> None:
        self._app = app
        self._settings = settings
        self._keys = keys
        self._quotas = quotas
        self._work: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or start and end the server."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, _plain(send))
            return
        headers = Headers(scope=scope)
        identity = request.begin(headers.get(request.HEADER), None)
        answered = _named(send, identity)
        try:
            self._known(scope, headers)
            seconds = self._seconds(headers)
        except StpeError as error:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008, "reason": str(error)[:120]})
            else:
                await problems.of_error(error)(scope, receive, answered)
            return
        if scope["type"] == "websocket":
            await self._app(scope, receive, answered)
            return
        request.begin(identity, seconds)
        await self._traced(scope, receive, answered, seconds, headers)

    def _known(self, scope: Scope, headers: Headers) -> None:
        """Whose key it is. A key with a name is as good as the server's own from here on."""
        own = self._settings.api_key
        if not self._keys or own is None:
            return
        scheme, _, rest = headers.get("authorization", "").partition(" ")
        bearer = rest.strip() if scheme.lower() == "bearer" else ""
        key = self._keys.find(headers.get("x-api-key") or bearer)
        if key is None:
            return
        self._quotas.take(key)
        scope["stpe.client"] = key.name
        kept = [(n, v) for n, v in scope["headers"] if n not in (b"authorization", b"x-api-key")]
        scope["headers"] = [*kept, (b"x-api-key", own.get_secret_value().encode())]

    def _seconds(self, headers: Headers) -> float | None:
        """Seconds that the request may take, by its header and the server's settings."""
        most = self._settings.request_s
        given = headers.get(TIMEOUT_HEADER)
        if given is None:
            return most
        try:
            seconds = float(given)
        except ValueError:
            seconds = math.nan
        if not 0 < seconds < math.inf:
            raise InvalidInputError(f"{TIMEOUT_HEADER} must be a number of seconds above 0")
        return seconds if most is None else min(seconds, most)

    async def _traced(
        self, scope: Scope, receive: Receive, send: Send, seconds: float | None, headers: Headers
    ) -> None:
        known = {
            "http.request.method": scope["method"],
            "url.path": scope["path"],
            "stpe.request_id": request.request_id() or "",
        }
        with tracing.span(scope["method"], known, headers) as span:

            async def told(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.tell(http__response__status_code=message["status"])
                await send(message)

            await self._timed(scope, receive, told, seconds)
            route = getattr(scope.get("route"), "path_format", None)
            if route is not None:
                span.tell(f"{scope['method']} {route}", http__route=route)

    async def _timed(
        self, scope: Scope, receive: Receive, send: Send, seconds: float | None
    ) -> None:
        """Let the application answer, and say so where it has not begun to in time. An answer under
        way is not broken off; the work of one that is late is cancelled, and ends by itself."""
        if seconds is None:
            await self._app(scope, receive, send)
            return
        started = late = False

        async def begun(message: Message) -> None:
            nonlocal started
            if not late:
                started = True
                await send(message)

        work = asyncio.create_task(_run(self._app, scope, receive, begun))
        self._work.add(work)
        work.add_done_callback(self._forget)
        try:
            await asyncio.wait({work}, timeout=seconds)
            if work.done() or started:
                await work
                return
        except asyncio.CancelledError:
            work.cancel()
            raise
        late = True
        work.cancel()
        error = DeadlineError(f"the request was not answered within {seconds:g} s")
        await problems.of_error(error)(scope, receive, send)

    def _forget(self, work: asyncio.Task[None]) -> None:
        self._work.discard(work)
        if not work.cancelled():
            work.exception()  # whoever waited has seen it


async def _run(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)


def _named(send: Send, identity: str) -> Send:
    """`send` that gives the answer the request's id."""

    async def named(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.accept"):
            message.setdefault("headers", [])
            MutableHeaders(scope=message)[request.HEADER] = identity
        await send(message)

    return named


def _plain(send: Send) -> Send:
    """`send` that tells in one line why the server does not start."""

    async def plain(message: Message) -> None:
        if message["type"] == "lifespan.startup.failed":
            last = message.get("message", "").strip().rpartition("\n")[2]
            message = {**message, "message": last}
        await send(message)

    return plain
