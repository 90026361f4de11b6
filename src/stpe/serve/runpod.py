"""RunPod serverless: `python -m stpe.serve.runpod`, or `handler` in a worker of one's own.

The operations are those of the HTTP server, run at once, since RunPod keeps the queue. The
arguments are the `runpod` package's: `--rp_serve_api --rp_api_port 8000` starts its local server,
`--test_input '{"input": {"operation": "health"}}'` runs one job. Settings are the server's
(`STPE_SERVE_PROFILE`, limits) and `STPE_JOBS_DATASET`.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from stpe.engine import Engine
from stpe.errors import MissingExtraError, StpeError
from stpe.serve import fetch, paths
from stpe.serve.failures import InvalidInputError, NotFoundError
from stpe.serve.jobs.media import Worker
from stpe.serve.jobs.operations import perform
from stpe.serve.jobs.requests import nested
from stpe.serve.jobs.settings import JobSettings
from stpe.serve.jobs.watch import Watch
from stpe.serve.settings import Settings

log = logging.getLogger(__name__)


@cache
def _worker() -> Worker:
    """What every job of this process runs on; models load when they are first needed."""
    # A worker listens nowhere, so an address and a key that the image sets for the server are not
    # its own.
    served = ("STPE_SERVE_HOST", "STPE_API_KEY")
    settings = Settings.from_environment({k: v for k, v in os.environ.items() if k not in served})

    def fetched(url: str, folder: Path, max_bytes: int, told: Callable[[int], None]) -> Path:
        return fetch.fetch(
            url,
            folder,
            max_bytes=max_bytes,
            total_s=settings.fetch_seconds,
            networks=settings.fetch_networks,
            told=told,
        )

    def upload(upload_id: str) -> Path:
        raise NotFoundError("this worker takes no uploads; give video_url or video_base64")

    return Worker(
        Engine(settings.profile, settings.overrides),
        JobSettings.from_environment().dataset,
        settings.limits,
        fetched,
        upload,
        lambda path: paths.inside(path, settings.media_roots),
    )


def handler(event: Mapping[str, Any]) -> dict[str, Any]:
    """Run one job.

    Args:
        event: `{"id", "input": {"operation", "data": {...}}}`; the fields of `data` may also stand
            beside `operation`.

    Returns:
        What the operation answers, or `{"error": line}`, which RunPod turns into a failed job.

    >>> handler({"input": {"operation": "health"}})["status"]             # doctest: +SKIP
    'healthy'
    """
    try:
        call = nested(event.get("input"))
        if not isinstance(call, dict) or "operation" not in call:
            raise InvalidInputError('`input` must be {"operation": ..., "data": {...}}')
        worker = replace(_worker(), progress=Watch(_note(event), threading.Event()))
        return perform(call["operation"], call["data"], worker)
    except StpeError as error:
        return {"error": str(error)}
    except Exception:
        log.exception("a job failed unexpectedly")
        return {"error": "the worker failed on this job; its log says more"}


def _note(event: Mapping[str, Any]) -> Callable[[float, str], bool]:
    """Sends progress to RunPod, where the job came from there."""
    from_runpod = "id" in event and "RUNPOD_WEBHOOK_POST_OUTPUT" in os.environ

    def note(fraction: float, stage: str) -> bool:
        if from_runpod:
            _runpod().progress_update(dict(event), {"progress": fraction, "stage": stage})
        return True

    return note


def main() -> None:
    """Start the worker. Raises MissingExtraError, and UsageError for wrong settings."""
    serverless = _runpod()
    os.umask(0o077)
    _worker()
    serverless.start({"handler": handler})


def _runpod() -> Any:
    try:
        return import_module("runpod").serverless
    except ImportError:
        raise MissingExtraError("runpod is not installed: pip install 'stpe[runpod]'") from None


if __name__ == "__main__":
    main()
