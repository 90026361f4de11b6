"""Server-sent events of a job, line by line."""

from __future__ import annotations

from stpe.serve.jobs.states import JobEvent

ENDED = ("COMPLETED", "FAILED", "CANCELLED")


class Events:
    """Turns lines into events, and remembers where to go on after a break."""

    def __init__(self) -> None:
        self.last: str | None = None
        self._coming: str | None = None
        self.ended = False

    @property
    def headers(self) -> dict[str, str]:
        """Of the request that goes on where the last one ended."""
        return {} if self.last is None else {"Last-Event-ID": self.last}

    def read(self, line: str) -> JobEvent | None:
        """The event that a line completes."""
        if line.startswith("id: "):
            self._coming = line[4:]
        if not line.startswith("data: "):
            return None
        event = JobEvent.model_validate_json(line[6:])
        self.last = self._coming
        self.ended = event.status in ENDED
        return event
