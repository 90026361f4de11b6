"""The jobs API: the prototype's operations, queued or awaited, in RunPod's shapes and its own."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, Response
from pydantic import BaseModel, Field, RootModel
from starlette.responses import StreamingResponse

from stpe import strict_json
from stpe.serve import fetch, keys, problems, request
from stpe.serve.environment import replicas
from stpe.serve.guard import caller
from stpe.serve.jobs.media import Worker
from stpe.serve.jobs.requests import Call
from stpe.serve.jobs.runner import Runner
from stpe.serve.jobs.settings import JobSettings
from stpe.serve.jobs.signal import Signal
from stpe.serve.jobs.states import JobStatus, RunStatus
from stpe.serve.jobs.store import ENDED, Job, JobStore, Status
from stpe.serve.services import Feature, Services, services

#: Seconds between two looks at a job that another process may be running.
_LOOK_S = 1.0
#: Seconds before its deadline at which a request that waits for a job is answered.
_TO_ANSWER_S = 0.25
#: Seconds of silence after which a comment keeps an event stream open.
_QUIET_S = 15.0
_WORDS: dict[Status, str] = {
    "IN_QUEUE": "queued",
    "IN_PROGRESS": "processing",
    "COMPLETED": "completed",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
}

T = TypeVar("T")

router = APIRouter(tags=["jobs"])
Shared = Annotated[Services, Depends(services)]
JobId = Annotated[str, Field(pattern="^[0-9A-Za-z-]{1,64}$", description="as submitting answered")]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="the same key again gives the same job",
    ),
]


class RunRequest(BaseModel):
    """RunPod's envelope."""

    input: Call


class SubmitRequest(RootModel[Call]):
    """The prototype's envelope."""


class Jobs:
    """The running jobs API: `app.state.jobs`."""

    def __init__(self, runner: Runner, signal: Signal) -> None:
        self.runner = runner
        self.signal = signal
        # Threads of its own, so that followers never wait behind other APIs' downloads.
        self._threads = ThreadPoolExecutor(4, "stpe-jobs-store")

    async def call(self, work: Callable[..., T], *arguments: Any) -> T:
        """Ask the store or the runner from a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, work, *arguments)

    def close(self) -> None:
        """Stop working and answering."""
        self.runner.close()
        self._threads.shutdown()

    async def submit(self, call: Any, key: str | None, shared: Services, client: str | None) -> Job:
        """Queue a job. Addresses, paths and uploads that will be refused are refused now."""
        for name in ("video_url", "zip_url", "image_url"):
            url = getattr(call.data, name, None)
            if url is not None:
                await shared.work.transfer(fetch.check, url, shared.settings.fetch_networks)
        if getattr(call.data, "upload_id", None) is not None:
            await shared.work.transfer(shared.uploads.complete, call.data.upload_id)
        for name in ("video_path", "zip_path"):
            path = getattr(call.data, name, None)
            if path is not None:
                await shared.work.transfer(shared.path, path)
        data = {} if call.data is None else call.data.model_dump(mode="json", exclude_none=True)
        return await self.call(self.runner.submit, call.operation, data, key, client)

    async def ended(self, job_id: str, wait_s: float) -> Job:
        """The job once it has ended, or as it stands after `wait_s` seconds."""
        before_s = request.left_s()
        if before_s is not None:  # so that the client learns the job's id
            wait_s = min(wait_s, max(0.0, before_s - _TO_ANSWER_S))
        deadline = asyncio.get_running_loop().time() + wait_s
        while True:
            change = self.signal.next()
            job = await self.call(self.runner.store.get, job_id)
            left = deadline - asyncio.get_running_loop().time()
            if job.status in ENDED or left <= 0:
                return job
            await self.signal.within(change, min(left, _LOOK_S))


def _jobs(request: Request) -> Jobs:
    found: Jobs = request.app.state.jobs
    return found


Running = Annotated[Jobs, Depends(_jobs)]
Caller = Annotated[str | None, Depends(caller)]


@router.post(
    "/run", response_model_exclude_unset=True, responses=problems.responses(403, 409, 413, 422, 429)
)
async def run(
    body: RunRequest, shared: Shared, jobs: Running, client: Caller, key: Key = None
) -> RunStatus:
    """Queue an operation; `/status/{id}` tells how it goes."""
    return run_status(await jobs.submit(body.input, key, shared, client))


@router.post(
    "/runsync",
    response_model=RunStatus,
    response_model_exclude_unset=True,
    responses=problems.responses(403, 409, 413, 422, 429, 503),
)
async def runsync(
    body: RunRequest,
    shared: Shared,
    jobs: Running,
    client: Caller,
    key: Key = None,
    wait: Annotated[int, Query(ge=1000, le=300_000, description="ms")] = 90_000,
) -> Any:
    """Run an operation and answer when it has ended; after `wait`, as `/run`. Failing is the
    status of what went wrong."""
    job = await jobs.submit(body.input, key, shared, client)
    job = await jobs.ended(job.id, wait / 1000)
    if job.status == "FAILED":
        status = job.http_status or 500
        document = problems.document(status, job.error or "", "urn:stpe:error:job")
        headers = problems.retry_after(status)
        return problems.ProblemResponse({**document, "id": job.id}, status, headers)
    return run_status(job)


@router.get(
    "/status/{job_id}", response_model_exclude_unset=True, responses=problems.responses(404)
)
async def status(job_id: JobId, jobs: Running) -> RunStatus:
    """How a job stands, with its output once it has ended."""
    return run_status(await jobs.call(jobs.runner.store.get, job_id))


@router.post(
    "/cancel/{job_id}", response_model_exclude_unset=True, responses=problems.responses(404, 409)
)
async def cancel(job_id: JobId, jobs: Running) -> RunStatus:
    """End a job now: nothing of it is stored. One that has ended stays as it is."""
    return run_status(await jobs.call(jobs.runner.cancel, job_id))


@router.post(
    "/jobs/submit",
    response_model_exclude_unset=True,
    responses=problems.responses(403, 409, 413, 422, 429),
)
async def submit(
    body: SubmitRequest, shared: Shared, jobs: Running, client: Caller, key: Key = None
) -> JobStatus:
    """Queue an operation; `/jobs/{job_id}` tells how it goes."""
    return _job_status(await jobs.submit(body.root, key, shared, client))


@router.get("/jobs/{job_id}", response_model_exclude_unset=True, responses=problems.responses(404))
async def job_status(job_id: JobId, jobs: Running) -> JobStatus:
    """How a job stands, with its result once it has ended."""
    return _job_status(await jobs.call(jobs.runner.store.get, job_id))


@router.get(
    "/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-sent events until the job has ended. `data` is JSON with "
            "`id`, `status`, `progress`, `stage` and, where it failed, `error`.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        204: {"description": "The job has ended and its last event was seen"},
        **problems.responses(404),
    },
)
async def events(
    job_id: JobId,
    jobs: Running,
    last: Annotated[
        str | None,
        Header(alias="Last-Event-ID", max_length=32, description="resume after this event"),
    ] = None,
) -> Response:
    """Follow a job as it goes."""
    seen = int(last) if last is not None and last.isascii() and last.isdigit() else -1
    seen = min(seen, 1 << 30)
    job = await jobs.call(jobs.runner.store.get, job_id)
    if job.status in ENDED and not await jobs.call(jobs.runner.store.events, job_id, seen):
        return Response(status_code=204)
    return StreamingResponse(
        _stream(job_id, seen, jobs),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


async def _stream(job_id: str, seen: int, jobs: Jobs) -> AsyncIterator[str]:
    yield "retry: 2000\n\n"
    quiet = 0.0
    while True:
        change = jobs.signal.next()
        fresh = await jobs.call(jobs.runner.store.events, job_id, seen)
        for seen, event in fresh:
            yield f"id: {seen}\ndata: {strict_json.dumps(event)}\n\n"
            if event["status"] in ENDED:
                return
        quiet = 0.0 if fresh else quiet + _LOOK_S
        if quiet >= _QUIET_S:
            quiet = 0.0
            yield ": still there\n\n"
        await jobs.signal.within(change, _LOOK_S)


def run_status(job: Job) -> RunStatus:
    """A job in RunPod's shape."""

    def milliseconds(begin: float | None, end: float | None) -> int | None:
        return None if begin is None or end is None else max(0, round(1000 * (end - begin)))

    return RunStatus(
        id=job.id,
        status=job.status,
        **_known(
            operation=job.operation,
            progress=job.progress,
            stage=job.stage,
            output=job.output,
            error=job.error,
            delayTime=milliseconds(job.created, job.started),
            executionTime=milliseconds(job.started, job.ended),
        ),
    )


def _job_status(job: Job) -> JobStatus:
    return JobStatus.model_validate(
        {
            "job_id": job.id,
            "status": _WORDS[job.status],
            **_known(
                operation=job.operation,
                progress=job.progress,
                stage=job.stage,
                result=None if job.output is None else {"output": job.output},
                error=job.error,
            ),
        }
    )


def _known(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


@asynccontextmanager
async def _running(app: FastAPI, shared: Services) -> AsyncIterator[None]:
    settings = JobSettings.from_environment()
    store = JobStore(settings)
    signal = Signal()
    shared.uploads.in_use = store.uses
    store.most_jobs = keys.from_environment().most_jobs
    worker = Worker(
        shared.roles.engine,
        settings.dataset,
        shared.limits,
        shared.fetch,
        lambda upload_id: shared.uploads.complete(upload_id).path,
        shared.path,
        shared.folder,
    )
    videos = math.ceil(settings.parallel / replicas())
    staging = settings.staging if settings.parallel > 1 else None
    runner = Runner(store, worker, signal.fire, videos, staging)
    jobs = app.state.jobs = Jobs(runner, signal)
    for status, name in (("IN_QUEUE", "waiting"), ("IN_PROGRESS", "running")):
        shared.metrics.gauge(
            f"stpe_jobs_{name}", f"Jobs {name}", partial(store.count, status), shared=True
        )
    runner.start()
    try:
        yield
    finally:
        await asyncio.to_thread(jobs.close)
        store.close()


FEATURE = Feature(router, _running)
