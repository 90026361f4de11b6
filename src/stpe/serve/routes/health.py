"""Whether the server lives, is ready, and what it counts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from pydantic import BaseModel, Field
from starlette.responses import PlainTextResponse

from stpe import __version__
from stpe.allocator import resident_bytes
from stpe.serve import problems
from stpe.serve.failures import LoadingError
from stpe.serve.metrics import Metrics
from stpe.serve.roles import ModelState
from stpe.serve.services import Feature, Services, services

router = APIRouter(tags=["health"])
Shared = Annotated[Services, Depends(services)]


class Health(BaseModel):
    """What the server is and can do now."""

    status: Literal["healthy"] = "healthy"
    version: str
    model_loaded: bool = Field(description="whether the clip classifier is ready")
    profile: str
    models: dict[str, ModelState] = Field(description="by role")
    pending_requests: int
    memory_mb: float = Field(description="resident memory of the process")
    uptime_seconds: float


class Live(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    """Every model that can be had is loaded."""

    status: Literal["ready"] = "ready"
    models: dict[str, str] = Field(description="model id by role")


class About(BaseModel):
    """What this server is, and where to ask."""

    service: str = "STPE"
    version: str
    docs: str = "/docs"
    endpoints: list[str]


@router.get("/", summary="The service and its endpoints")
async def about(request: Request) -> About:
    """Name the service and list its endpoints."""
    paths = request.app.openapi()["paths"]
    found = [f"{m.upper()} {path}" for path, methods in paths.items() for m in methods]
    return About(version=__version__, endpoints=found)


@router.get("/health", summary="What the server is and can do now")
async def health(request: Request, shared: Shared) -> Health:
    """Healthy as long as it answers; `models` says what is loaded."""
    return Health(
        version=__version__,
        model_loaded=shared.roles.loaded("clip_classifier"),
        profile=shared.roles.engine.selection.profile,
        models=shared.roles.states(),
        pending_requests=shared.admission.pending,
        memory_mb=resident_bytes() / 1e6,
        uptime_seconds=time.monotonic() - request.app.state.begun,
    )


@router.get("/health/live", summary="Liveness")
async def live() -> Live:
    """The event loop turns."""
    return Live()


@router.get("/health/ready", summary="Readiness", responses=problems.responses(503))
async def ready(shared: Shared) -> Ready:
    """200 once no model is being loaded any more."""
    states = shared.roles.states()
    loading = [role for role, state in states.items() if state.state == "loading"]
    if loading:
        raise LoadingError(f"still loading: {', '.join(loading)}", 2.0)
    found = {role: s.model for role, s in states.items() if s.state == "ready" and s.model}
    return Ready(models=found)


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(shared: Shared) -> Response:
    """Prometheus text format."""
    # In a thread, since some figures are asked of the job database; not one of `Work`, where it
    # would wait behind downloads.
    text = await asyncio.to_thread(shared.metrics.text)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


@asynccontextmanager
async def _running(app: FastAPI, shared: Services) -> AsyncIterator[None]:
    app.state.begun = time.monotonic()
    told = asyncio.create_task(_tell(shared.metrics))
    yield
    told.cancel()


async def _tell(metrics: Metrics) -> None:
    """Let the other processes of this port know this one's gauges."""
    while metrics.summed is not None:
        await asyncio.to_thread(metrics.refresh)
        await asyncio.sleep(1)


FEATURE = Feature(router, _running)
