"""What every API of the server shares, and how an API is added to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, FastAPI
from starlette.requests import HTTPConnection

from stpe.serve import fetch, paths
from stpe.serve.admission import Admission
from stpe.serve.batching import Batcher
from stpe.serve.metrics import Metrics
from stpe.serve.roles import Roles
from stpe.serve.settings import Settings
from stpe.serve.uploads import Uploads
from stpe.serve.work import Work
from stpe.video.limits import Limits


@dataclass(frozen=True)
class Services:
    """Shared by all requests of one server; see each class.

    Attributes:
        folder: for temporary files; removed when the server ends.
    """

    settings: Settings
    roles: Roles
    admission: Admission
    work: Work
    batcher: Batcher
    metrics: Metrics
    uploads: Uploads
    folder: Path

    @property
    def limits(self) -> Limits:
        """Limits for `open_source` on what clients send."""
        return self.settings.limits

    def fetch(
        self,
        url: str,
        folder: Path,
        max_bytes: int | None = None,
        told: Callable[[int], None] = lambda size: None,
    ) -> Path:
        """`stpe.serve.fetch.fetch` within this server's limits. Blocks."""
        return fetch.fetch(
            url,
            folder,
            max_bytes=max_bytes or self.settings.max_video_bytes,
            total_s=self.settings.fetch_seconds,
            networks=self.settings.fetch_networks,
            told=told,
        )

    def path(self, text: str) -> Path:
        """The file a client names by path; see `stpe.serve.paths.inside`."""
        return paths.inside(text, self.settings.media_roots)


@dataclass(frozen=True)
class BodyRule:
    """How large bodies to a path may be.

    Attributes:
        prefix: of the request's path; the longest that fits holds.
        max_bytes: larger bodies are refused with 413.
        held: bytes of memory a byte of body takes until it is answered; 0 for what is streamed
            to a file.
    """

    prefix: str
    max_bytes: int
    held: float = 3.0


def _no_bodies(settings: Settings) -> Sequence[BodyRule]:
    return ()


@dataclass(frozen=True)
class Feature:
    """One API: what `app.FEATURES` lists.

    Attributes:
        router: its routes.
        running: entered when the server starts and left when it ends; a place for its own state
            (`app.state.<name> = ...`), clean-up tasks and databases.
        bodies: rules for its own large or streamed bodies; others fall under
            `Settings.max_body_bytes`.
    """

    router: APIRouter
    running: Callable[[FastAPI, Services], AbstractAsyncContextManager[None]] | None = None
    bodies: Callable[[Settings], Sequence[BodyRule]] = _no_bodies


def services(connection: HTTPConnection) -> Services:
    """The server's services, for `Depends`; for HTTP and WebSocket routes."""
    found: Services = connection.app.state.services
    return found
