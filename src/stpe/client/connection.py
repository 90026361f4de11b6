"""What both clients do alike beside sending requests: settings, and how streams are read."""

from __future__ import annotations

import json
from typing import Any

import httpx

from stpe.client.errors import (
    JobFailedError,
    RequestFailedError,
    SessionError,
    UnreadableAnswerError,
)
from stpe.errors import MissingExtraError, StpeError, UsageError
from stpe.serve.jobs.states import RunStatus
from stpe.serve.video.schemas import FrameObjects

#: Bytes of a piece of an upload.
PIECE_BYTES = 8 << 20


def settings(
    server: str, api_key: str | None, timeout_s: float, deadline_s: float | None
) -> dict[str, Any]:
    """Arguments of `httpx.Client` and `httpx.AsyncClient`."""
    headers = key_headers(api_key)
    if deadline_s is not None:
        headers["X-Request-Timeout"] = f"{deadline_s:g}"
    return {
        "base_url": server.rstrip("/"),
        "headers": headers,
        "timeout": timeout_s,
        "trust_env": False,
    }


def key_headers(api_key: str | None) -> dict[str, str]:
    """The header that carries a key; none without one."""
    return {} if api_key is None else {"Authorization": f"Bearer {api_key}"}


def failed(base: httpx.URL, error: httpx.HTTPError | StpeError) -> StpeError:
    """What a request raises that got no answer, or one that says no."""
    if isinstance(error, StpeError):
        return error
    if isinstance(error, httpx.DecodingError):
        found: StpeError = UnreadableAnswerError(f"{base} answered: {error}")
    else:
        found = UsageError(f"{base} cannot be reached: {str(error) or type(error).__name__}")
    found.__cause__ = error
    return found


def checked(response: httpx.Response) -> httpx.Response:
    """The response. Raises RequestFailedError where it is not a success."""
    if not response.is_success:
        raise RequestFailedError(response)
    return response


def piece(data: bytes) -> bytes:
    """The next bytes of an upload. Raises UsageError where the file has no more of them."""
    if not data:
        raise UsageError("the file became shorter while it was sent; send it again")
    return data


def outcome(job: RunStatus) -> dict[str, Any]:
    """What a job that has ended answers. Raises JobFailedError."""
    if job.status != "COMPLETED" or job.output is None:
        raise JobFailedError(f"job {job.id} {job.status.lower()}: {job.error or 'no reason'}")
    return job.output


def socket_url(base: httpx.URL, session_id: str) -> str:
    """Address of the WebSocket on which a session's frames come."""
    address = str(base).replace("http", "ws", 1).rstrip("/")
    return f"{address}/ws/propagate/{session_id}"


def no_websockets() -> MissingExtraError:
    """The error where the package is missing."""
    return MissingExtraError("websockets is not installed: pip install websockets")


def frame_of(text: str | bytes) -> FrameObjects | None:
    """The frame that a message of that WebSocket holds; None at the end. Raises SessionError."""
    message = json.loads(text)
    if message["type"] == "error":
        raise SessionError(message["error"])
    return FrameObjects.model_validate(message) if message["type"] == "frame" else None
