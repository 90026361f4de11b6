"""`stpe serve`: the application in uvicorn."""

from __future__ import annotations

import logging
import os
from copy import deepcopy
from typing import Any

import uvicorn

from stpe.serve import keys, request
from stpe.serve.jobs.settings import JobSettings
from stpe.serve.leftovers import work_folder
from stpe.serve.settings import Settings
from stpe.serve.supervisor import supervise
from stpe.serve.video.settings import VideoSettings


def serve(replicas: int = 1) -> None:
    """Serve with the settings of the environment until SIGINT or SIGTERM.

    Args:
        replicas: processes, each with models of its own. They share jobs, uploads and metrics;
            video sessions live in one process, so they are refused where there are several.

    Raises:
        UsageError: settings, profile or model are wrong.
    """
    os.umask(0o077)  # what clients send and what is made of it is this user's alone
    os.environ["STPE_SERVE_REPLICAS"] = str(replicas)
    keys.make_own_key(keys.from_environment(), os.environ)
    # First, so that wrong ones are told without waiting for models.
    settings = Settings.from_environment()
    VideoSettings.from_environment()
    JobSettings.from_environment()
    if replicas == 1:
        supervise()
        _run(settings, replicas)
        return
    with work_folder() as folder:
        summed = folder / "metrics"
        summed.mkdir()
        os.environ["STPE_SERVE_SHARED"] = str(folder)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(summed)  # before prometheus_client is imported
        _run(settings, replicas)


def _run(settings: Settings, replicas: int) -> None:
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
        log_config=_logging(),
        server_header=False,
        timeout_graceful_shutdown=10,
        timeout_worker_healthcheck=120,  # uvicorn would kill it while a busy machine imports
        ws_max_size=1 << 20,
        http=BoundedProtocol,
    )


def _logging() -> dict[str, Any]:
    """uvicorn's logging, and ours through it, with the request's id at the end of each line."""
    found: dict[str, Any] = deepcopy(uvicorn.config.LOGGING_CONFIG)
    found["filters"] = {"request": {"()": request.WithRequestId}}
    for formatter in found["formatters"].values():
        formatter["fmt"] += "%(request)s"
    for handler in found["handlers"].values():
        handler["filters"] = ["request"]
    found["loggers"]["stpe"] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    return found
