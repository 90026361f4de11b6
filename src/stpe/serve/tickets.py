"""Tickets: what a browser shows where it cannot send a key.

`WebSocket` and `EventSource` carry no headers, and a key in an address ends up in logs and
histories. A ticket is good for one path, for a few minutes, and for nothing but reading: it is
accepted for WebSockets and GET. Nothing is kept: the expiry and the path are signed with the key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import logging
import re
import time
from urllib.parse import parse_qs

#: Longest life of a ticket, in seconds.
MOST_S = 900
_SHOWN = re.compile(r"(?<=[?&]ticket=)[^&\s\"]+")


def issue(key: str, path: str, seconds: int) -> tuple[str, float]:
    """A ticket for `path`, and when it ends (seconds since 1970)."""
    ends = time.time() + seconds
    body = _coded(json.dumps([path, ends], allow_nan=False).encode())
    return f"{body}.{_coded(_signature(key, body))}", ends


def accepts(key: str, path: str, query: bytes) -> bool:
    """Whether a query string holds a ticket for `path` that is signed and has not ended."""
    (ticket, *_) = parse_qs(query.decode("latin-1")).get("ticket", [""])
    body, _, signature = ticket.partition(".")
    expected = _coded(_signature(key, body)).encode()
    if not body or not hmac.compare_digest(signature.encode(), expected):
        return False
    try:
        signed, ends = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (binascii.Error, ValueError):
        return False
    return bool(signed == path and time.time() < ends)


def _signature(key: str, body: str) -> bytes:
    secret = hmac.digest(key.encode(), b"stpe ticket 1", hashlib.sha256)
    return hmac.digest(secret, body.encode(), hashlib.sha256)


def _coded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


class Hidden(logging.Filter):
    """Keeps tickets out of the access log."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, without them."""
        if isinstance(record.args, tuple):
            record.args = tuple(
                _SHOWN.sub("...", one) if isinstance(one, str) else one for one in record.args
            )
        return True
