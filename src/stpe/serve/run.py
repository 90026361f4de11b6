"""`stpe serve`: the application in uvicorn."""

from __future__ import annotations

import uvicorn

from stpe.serve.app import create_app
from stpe.serve.settings import Settings


def serve(settings: Settings | None = None) -> None:
    """Serve until SIGINT or SIGTERM. Raises UsageError: wrong settings, profile or model."""
    chosen = settings or Settings.from_environment()
    uvicorn.run(
        create_app(chosen),
        host=chosen.host,
        port=chosen.port,
        log_level="info",
        server_header=False,
        timeout_graceful_shutdown=10,
        ws_max_size=1 << 20,
        h11_max_incomplete_event_size=64 << 10,
    )
