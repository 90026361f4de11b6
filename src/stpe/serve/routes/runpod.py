"""Jobs as RunPod's serverless endpoints have them, below `/v2/{endpoint}`: its SDK and clients work
unchanged with this server as their base URL. Whatever the endpoint is called, the jobs are the
same as those of `routes/jobs.py`.

As there, any input is taken and a wrong one is a job that FAILED: `error` says why, and the status
is 200. What is refused before it is a job is `{"error": ...}` with a status of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from stpe.errors import StpeError
from stpe.serve import problems
from stpe.serve.guard import caller
from stpe.serve.jobs.requests import nested
from stpe.serve.jobs.states import RunStatus
from stpe.serve.jobs.store import Job
from stpe.serve.routes.jobs import JobId, Running, run_status
from stpe.serve.services import Feature


class _RunPodRoute(APIRoute):
    """Failures in RunPod's shape."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, first["loc"]))
                return JSONResponse({"error": f"{where}: {first['msg']}"}, 400)
            except StpeError as error:
                as_problem = problems.of_error(error)
                kept = {k: v for k, v in as_problem.headers.items() if k == "retry-after"}
                return JSONResponse({"error": str(error)}, error.http_status, kept)

        return answered


class RunPodError(BaseModel):
    """Why a request was refused."""

    error: str


class RunPodRequest(BaseModel):
    """RunPod's envelope: `input` is the operation with its fields."""

    model_config = ConfigDict(extra="allow")

    input: dict[str, Any]


class RunPodJob(RunStatus):
    """A job in RunPod's shape."""

    workerId: str | None = None
    warnings: list[str] | None = Field(None, description="what of the request was not done")


class RunPodStream(BaseModel):
    """What a job told since it was last asked: progress, and in the end its output."""

    status: Literal["IN_QUEUE", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELLED"]
    stream: list[dict[str, Any]] = Field(description="each with `output`")
    error: str | None = None


class RunPodJobs(BaseModel):
    """Jobs by state; ended ones as long as they are kept."""

    completed: int
    failed: int
    inProgress: int
    inQueue: int
    retried: int = Field(description="jobs that were taken up again after a server died")


class RunPodWorkers(BaseModel):
    """Threads that run jobs, of this process and at work in others."""

    idle: int
    initializing: int
    ready: int
    running: int
    throttled: int
    unhealthy: int


class RunPodHealth(BaseModel):
    """How the endpoint stands."""

    jobs: RunPodJobs
    workers: RunPodWorkers


class RunPodPurged(BaseModel):
    """Jobs that were waiting and are cancelled."""

    removed: int
    status: Literal["completed"] = "completed"


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": RunPodError} for status in statuses}


router = APIRouter(prefix="/v2/{endpoint}", tags=["runpod"], route_class=_RunPodRoute)
Endpoint = Annotated[str, Path(max_length=200, description="any name")]
Caller = Annotated[str | None, Depends(caller)]


async def _submit(body: RunPodRequest, jobs: Running, client: str | None) -> tuple[Job, list[str]]:
    call = nested(body.input)
    operation, data = str(call.get("operation", ""))[:100], call.get("data")
    job = await jobs.call(jobs.runner.submit, operation, data, None, client)
    return job, [f"{name} is not used by this server" for name in sorted(body.model_extra or ())]


def _told(job: Job, warnings: list[str]) -> RunPodJob:
    fields = run_status(job).model_dump(exclude_unset=True)
    return RunPodJob.model_validate(fields | ({"warnings": warnings} if warnings else {}))


@router.post("/run", response_model_exclude_unset=True, responses=_refusals(400, 413, 429))
async def run(endpoint: Endpoint, body: RunPodRequest, jobs: Running, client: Caller) -> RunPodJob:
    """Queue an operation."""
    return _told(*await _submit(body, jobs, client))


@router.post("/runsync", response_model_exclude_unset=True, responses=_refusals(400, 413, 429))
async def runsync(
    endpoint: Endpoint,
    body: RunPodRequest,
    jobs: Running,
    client: Caller,
    wait: Annotated[int, Query(ge=1000, le=300_000, description="ms")] = 90_000,
) -> RunPodJob:
    """Run an operation and answer when it has ended; after `wait`, as `/run`."""
    job, warnings = await _submit(body, jobs, client)
    return _told(await jobs.ended(job.id, wait / 1000), warnings)


@router.get("/status/{job_id}", response_model_exclude_unset=True, responses=_refusals(404))
async def status(endpoint: Endpoint, job_id: JobId, jobs: Running) -> RunPodJob:
    """How a job stands, with its output once it has ended."""
    return _told(await jobs.call(jobs.runner.store.get, job_id), [])


@router.get("/stream/{job_id}", response_model_exclude_unset=True, responses=_refusals(404))
async def stream(endpoint: Endpoint, job_id: JobId, jobs: Running) -> RunPodStream:
    """What a job told since it was last asked this."""
    job, chunks = await jobs.call(jobs.runner.store.stream, job_id)
    told = {"status": job.status, "stream": [{"output": chunk} for chunk in chunks]}
    return RunPodStream.model_validate(told | ({"error": job.error} if job.error else {}))


@router.post("/cancel/{job_id}", response_model_exclude_unset=True, responses=_refusals(404, 409))
async def cancel(endpoint: Endpoint, job_id: JobId, jobs: Running) -> RunPodJob:
    """End a job now; one that has ended stays as it is."""
    return _told(await jobs.call(jobs.runner.cancel, job_id), [])


@router.post("/purge-queue")
async def purge(endpoint: Endpoint, jobs: Running, client: Caller) -> RunPodPurged:
    """Cancel the jobs that wait; where keys have names, those of the key that asks."""
    return RunPodPurged(removed=await jobs.call(jobs.runner.purge, client))


@router.get("/health")
async def health(endpoint: Endpoint, jobs: Running) -> RunPodHealth:
    """Jobs and workers by state."""
    counts, retried = await jobs.call(jobs.runner.store.counts)
    running = counts.get("IN_PROGRESS", 0)
    idle = max(0, jobs.runner.threads - running)
    return RunPodHealth(
        jobs=RunPodJobs(
            completed=counts.get("COMPLETED", 0),
            failed=counts.get("FAILED", 0),
            inProgress=running,
            inQueue=counts.get("IN_QUEUE", 0),
            retried=retried,
        ),
        workers=RunPodWorkers(
            idle=idle, initializing=0, ready=idle, running=running, throttled=0, unhealthy=0
        ),
    )


FEATURE = Feature(router)
