"""What is known of the request at hand wherever its work is done: its id, and its deadline."""

from __future__ import annotations

import logging
import re
import time
import uuid
from contextvars import ContextVar

HEADER = "X-Request-ID"
_WRITTEN = re.compile(r"[\x21-\x7e]{1,128}")
_ID: ContextVar[str | None] = ContextVar("stpe_request_id", default=None)
_DEADLINE: ContextVar[float | None] = ContextVar("stpe_request_deadline", default=None)


def begin(given: str | None, seconds: float | None) -> str:
    """Begin a request in this task; its id: the one that the client gave, or a new one.

    Args:
        given: the client's id, kept where it is 1 to 128 visible ASCII characters.
        seconds: that it may take; None for as long as it takes.
    """
    found = given if given and _WRITTEN.fullmatch(given) else uuid.uuid4().hex
    _ID.set(found)
    _DEADLINE.set(None if seconds is None else time.monotonic() + seconds)
    return found


def request_id() -> str | None:
    """Id of the request that this work is for; None outside of one."""
    return _ID.get()


def left_s() -> float | None:
    """Seconds until the request's deadline; None without one."""
    deadline = _DEADLINE.get()
    return None if deadline is None else deadline - time.monotonic()


class WithRequestId(logging.Filter):
    """Gives every record `request`: the id in brackets, or nothing."""

    def filter(self, record: logging.LogRecord) -> bool:
        """True: nothing is dropped."""
        found = request_id()
        record.request = "" if found is None else f" [{found}]"
        return True
