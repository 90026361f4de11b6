"""Connections: how many there may be, and how long a silent one may stay.

uvicorn bounds an idle connection between two requests and nothing else: neither the time nor the
size of a request's head, nor a client that does not read its answer, nor one that goes on sending
after it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from stpe.serve import problems
from stpe.serve.settings import Settings

#: Longest head of a request, with its path.
_HEAD_BYTES = 64 << 10
#: Seconds that a client may leave an answer unread before it is taken for gone.
_UNREAD_S = 60.0


class Transport(Protocol):
    """What is asked of a connection."""

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        ...


@dataclass
class Connections:
    """Open connections of one server process, by the client's address. For its event loop.

    Attributes:
        most: of all together.
        most_each: of one address; of one /64 network of IPv6.
        head_s: seconds that the head of a request may take.
    """

    most: int
    most_each: int
    head_s: float
    _open: dict[Transport, str] = field(default_factory=dict)

    def add(self, transport: Transport, host: str | None) -> str | None:
        """Count a new one; why it may not stay, or None."""
        self._open = {one: name for one, name in self._open.items() if not one.is_closing()}
        name = _network(host)
        if len(self._open) >= self.most:
            return f"the server has {self.most} connections, which is all that it takes"
        if name and Counter(self._open.values())[name] >= self.most_each:
            return f"your address has {self.most_each} connections, which is all that it may have"
        self._open[transport] = name
        return None

    def __len__(self) -> int:
        return sum(not one.is_closing() for one in list(self._open))


def _network(host: str | None) -> str:
    try:
        address = ipaddress.ip_address((host or "").partition("%")[0])
    except ValueError:
        return ""
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, 64), strict=False))


@cache
def connections() -> Connections:
    """Those of this process, within the bounds of its environment."""
    settings = Settings.from_environment()
    return Connections(settings.max_connections, settings.max_address_connections, settings.head_s)


class BoundedProtocol(HttpToolsProtocol):
    """One connection. A timer runs while a head is awaited, and while an answer is not read."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._in_head, self._head_bytes = True, 0
        self._whole = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let it in, or say why not."""
        super().connection_made(transport)
        full = connections().add(transport, self.client[0] if self.client else None)
        if full is not None:
            self._refuse(503, full)
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        for timer in (self._timer, self._unread):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes, of a head or a body."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_BYTES:
                self._refuse(431, f"the head of a request may have {_HEAD_BYTES} bytes")

    def on_message_begin(self) -> None:
        """A head begins."""
        self._whole = False
        if not self._in_head:
            self._await_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head is here; what follows is the application's to bound."""
        self._in_head = False
        if self._timer is not None:
            self._timer.cancel()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A request is here."""
        self._whole = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Who goes on sending what was answered already is not listened to."""
        unfinished = not (self._whole or self._in_head or self.pipeline)
        super().on_response_complete()
        if unfinished:
            self.transport.close()

    def pause_writing(self) -> None:
        """The client does not read as fast as is written."""
        super().pause_writing()
        self._unread = self.loop.call_later(_UNREAD_S, self.transport.abort)

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()

    def _await_head(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._timer = self.loop.call_later(connections().head_s, self._late)

    def _late(self) -> None:
        if self._answering:
            self._timer = self.loop.call_later(connections().head_s, self._late)
        elif self._in_head and not self.transport.is_closing():
            self._refuse(
                408, f"the head of the request was not here within {connections().head_s:g} s"
            )

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, status: int, why: str) -> None:
        if self._answering:
            self.transport.close()
            return
        body = json.dumps(problems.document(status, why), allow_nan=False).encode()
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: {problems.MEDIA_TYPE}"
        )
        head += f"\r\ncontent-length: {len(body)}\r\nretry-after: 5\r\nconnection: close\r\n\r\n"
        self.transport.write(head.encode() + body)
        self.transport.close()
