"""When a request is sent again, and after how long."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import httpx

from stpe.client.errors import RequestFailedError
from stpe.client.requests import Request
from stpe.errors import StpeError, UsageError

#: Answers that another try may turn into another one: nothing was done for these.
_REFUSED = (429, 503)
#: And these, where doing it twice does no harm.
_UNSURE = (502, 504)


@dataclass(frozen=True)
class Retry:
    """How often, and how patiently.

    Attributes:
        times: tries after the first.
        first_s: wait before the second try; each further one is twice as long, less a random part
            of up to half, so that many clients do not come at once.
        most_s: longest wait; the server's own Retry-After is waited for up to it.
    """

    times: int = 0
    first_s: float = 0.5
    most_s: float = 30.0

    def wait_s(self, error: StpeError, request: Request[Any], tried: int) -> float | None:
        """Seconds to wait before the next try after `tried` ones; None where there is none."""
        if tried > self.times or not _may(error, request):
            return None
        grown = min(self.most_s, self.first_s * 2 ** (tried - 1))
        wait: float = grown * random.uniform(0.5, 1.0)
        asked = error.retry_after_s if isinstance(error, RequestFailedError) else None
        return wait if asked is None else min(self.most_s, max(asked, wait))


def _may(error: StpeError, request: Request[Any]) -> bool:
    if isinstance(error, RequestFailedError):
        return error.status in _REFUSED or (error.status in _UNSURE and request.repeatable)
    unsent = isinstance(error.__cause__, (httpx.ConnectError, httpx.ConnectTimeout))
    return isinstance(error, UsageError) and (unsent or request.repeatable)
