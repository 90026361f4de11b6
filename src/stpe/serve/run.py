"""`stpe serve`: the application in uvicorn."""

from __future__ import annotations

import logging
import os

import uvicorn

from stpe.serve.settings import Settings
from stpe.serve.supervisor import supervise


def serve(replicas: int = 1) -> None:
    """Serve with the settings of the environment until SIGINT or SIGTERM.

    Args:
        replicas: processes, each with models of its own. Video sessions live in one process, so
            they are off when there are several.

    Raises:
        UsageError: settings, profile or model are wrong.
    """
    settings = Settings.from_environment()  # first: wrong ones are told without waiting for models
    if replicas > 1:
        os.environ["VIDEO_MODEL_ENABLED"] = "0"  # uvicorn starts dead replicas again
    else:
        supervise()
    from stpe.serve.app import create_app
    from stpe.serve.protocol import BoundedProtocol
    from stpe.serve.tickets import Hidden

    for name in ("uvicorn.access", "uvicorn.error"):  # the latter tells of WebSockets
        logging.getLogger(name).addFilter(Hidden())
    uvicorn.run(
        create_app(settings) if replicas == 1 else "stpe.serve.app:create_app",
        factory=replicas > 1,
        workers=replicas,
        host=settings.host,
        port=settings.port,
        log_level="info",
        server_header=False,
        timeout_graceful_shutdown=10,
        ws_max_size=1 << 20,
        http=BoundedProtocol,
    )
