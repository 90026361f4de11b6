"""The body of one request: counted as it arrives, within a time."""

from __future__ import annotations

import asyncio
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stpe.errors import StpeError
from stpe.serve import problems
from stpe.serve.admission import Reservation
from stpe.serve.failures import ClientLeftError, SlowBodyError, TooLargeError
from stpe.serve.services import BodyRule
from stpe.serve.settings import Settings

#: Slower than this many bytes a second a body is refused, after the time that any may take.
_SLOWEST = 64 << 10


class Body:
    """Past a limit, whatever the application made of the break is replaced by the true answer.

    Args:
        receive: the server's.
        rule: how large it may be.
        held: grows with every byte, by `rule.held`.
        settings: how long it may take.
    """

    def __init__(
        self, receive: Receive, rule: BodyRule, held: Reservation, settings: Settings
    ) -> None:
        self._receive = receive
        self._rule = rule
        self._held = held
        self._settings = settings
        self._begun = time.monotonic()
        self._size = 0
        self._complete = False
        self._gathered: Message | None = None
        self._failure: StpeError | None = None

    async def gather(self) -> None:
        """Have all of it here. Raises SlowBodyError, TooLargeError, BusyError, ClientLeftError."""
        pieces = []
        while not self._complete:
            message = await self.receive()
            if message["type"] != "http.request":
                raise ClientLeftError("the client has left")
            pieces.append(message.get("body", b""))
        self._gathered = {"type": "http.request", "body": b"".join(pieces), "more_body": False}

    async def serve(self, app: ASGIApp, scope: Scope, send: Send) -> None:
        """Let the application answer."""
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
            await problems.answer_early(self._failure, scope, self._receive, send)

    async def receive(self) -> Message:
        """The next message of it, for the application."""
        if self._failure is not None:
            raise self._failure
        if self._gathered is not None:
            message, self._gathered = self._gathered, None
            return message
        if self._complete:
            return await self._receive()
        try:
            message = await self._next()
        except StpeError as error:
            self._failure = error
            raise
        return message

    async def _next(self) -> Message:
        idle_s, whole_s = self._settings.idle_body_s, self._settings.body_s
        left_s = self._begun + whole_s + self._size / _SLOWEST - time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, min(idle_s, left_s)))
        except TimeoutError:
            if left_s <= idle_s:
                raise SlowBodyError(f"the body was not here within {whole_s:g} s") from None
            raise SlowBodyError(f"nothing of the body came for {idle_s:g} s") from None
        if message["type"] == "http.request":
            size = len(message.get("body", b""))
            self._size += size
            if self._size > self._rule.max_bytes:
                raise too_large(self._rule)
            self._held.grow(round(size * self._rule.held))
            self._complete = not message.get("more_body", False)
        return message


def too_large(rule: BodyRule) -> TooLargeError:
    """What a body past the rule is told."""
    return TooLargeError(f"the body is larger than the {rule.max_bytes} bytes allowed here")
