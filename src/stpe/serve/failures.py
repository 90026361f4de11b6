"""Errors that only a server has; the others are those of `stpe.errors`."""

from __future__ import annotations

from typing import ClassVar

from stpe.errors import StpeError


class UnauthorizedError(StpeError):
    """The key is missing or wrong."""

    http_status = 401


class ForbiddenError(StpeError):
    """The request asks for what this server does not give: a path, an address, an origin."""

    http_status = 403


class NotFoundError(StpeError):
    """There is nothing by that id."""

    http_status = 404


class ConflictError(StpeError):
    """The request does not fit the state of what it names."""

    http_status = 409


class SlowBodyError(StpeError):
    """The body stopped arriving."""

    http_status = 408


class ClientLeftError(StpeError):
    """Nobody waits for the answer any more."""

    http_status = 408


class TooLargeError(StpeError):
    """The body, or what it would become in memory, is past a limit."""

    http_status = 413


class UnsupportedMediaError(StpeError):
    """The content is not of a type that is read here, or not of the type it is said to be."""

    http_status = 415


class InvalidInputError(StpeError):
    """A value of the request cannot be used."""

    http_status = 422


class BusyError(StpeError):
    """There is no room now; the same request will do later.

    Args:
        message: what is full.
        retry_after_s: when to come again.
    """

    http_status: ClassVar[int] = 503

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlineError(StpeError):
    """The request took longer than its client or this server allows."""

    http_status = 504


class TooManyRequestsError(BusyError):
    """The queue is full."""

    http_status = 429


class LoadingError(BusyError):
    """The model is still being loaded."""
