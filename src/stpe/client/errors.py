"""What can go wrong between a client and its server."""

from __future__ import annotations

from typing import Any

import httpx

from stpe.errors import StpeError


class RequestFailedError(StpeError):
    """The server refused a request or could not do it.

    Attributes:
        status: of HTTP.
        problem: the problem document (RFC 9457), as far as there was one.
        retry_after_s: when the server says to try again, or None.
        request_id: by which the server's log knows the request.
    """

    def __init__(self, response: httpx.Response) -> None:
        try:
            body = response.json()
        except ValueError:
            body = {}
        self.problem: dict[str, Any] = body if isinstance(body, dict) else {}
        self.status = response.status_code
        waits = response.headers.get("retry-after", "")
        self.retry_after_s = float(waits) if waits.isdigit() else None
        self.request_id = response.headers.get("x-request-id")
        detail = self.problem.get("detail") or response.reason_phrase
        super().__init__(f"the server answered {self.status}: {detail}")


class UnreadableAnswerError(StpeError):
    """What answered is not this API: a proxy's page, another service, another version."""


class JobFailedError(StpeError):
    """A job ended without an answer: it failed or was cancelled."""


class SessionError(StpeError):
    """A propagation ended before its last frame."""
