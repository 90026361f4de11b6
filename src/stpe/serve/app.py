"""The application: features, guard and shared services put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.middleware.cors import CORSMiddleware

from stpe import __version__
from stpe.engine import Engine
from stpe.errors import UsageError
from stpe.serve import description, keys, problems, tracing
from stpe.serve.admission import Admission
from stpe.serve.batching import Batcher
from stpe.serve.entry import Entry
from stpe.serve.guard import Guard
from stpe.serve.jobs.settings import JobSettings
from stpe.serve.leftovers import work_folder
from stpe.serve.metrics import Metrics
from stpe.serve.protocol import connections
from stpe.serve.roles import Roles
from stpe.serve.routes import clips, documentation, health, infer, jobs, runpod, tickets, video
from stpe.serve.services import BodyRule, Feature, Services
from stpe.serve.settings import Settings
from stpe.serve.uploads import Uploads
from stpe.serve.video.settings import VideoSettings
from stpe.serve.work import Work

#: Every API of the server; a further one is a module in `routes/` and a line here.
FEATURES: tuple[Feature, ...] = (
    health.FEATURE,
    documentation.FEATURE,
    tickets.FEATURE,
    infer.FEATURE,
    clips.FEATURE,
    jobs.FEATURE,
    runpod.FEATURE,
    video.FEATURE,
)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The server as an ASGI application; models load when it starts.

    Args:
        settings: by default those of the environment.

    Raises:
        UsageError: a wrong setting, profile, role or model.
    """
    chosen = settings or Settings.from_environment()
    engine = Engine(chosen.profile, chosen.overrides)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            tracing.configure()
            shared = _services(chosen, engine, stack.enter_context(work_folder()))
            stack.callback(shared.roles.close)
            stack.callback(shared.work.close)
            app.state.services = shared
            shared.roles.start()
            for feature in FEATURES:
                if feature.running is not None:
                    await stack.enter_async_context(feature.running(app, shared))
            yield

    app = FastAPI(
        title="STPE",
        version=__version__,
        summary="Spatio-temporal perception of images and video",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=problems.responses(),
    )
    problems.install(app)
    rules = [BodyRule("", chosen.max_body_bytes)]
    for feature in FEATURES:
        app.include_router(feature.router)
        rules.extend(feature.bodies(chosen))
    app.add_middleware(Guard, services=lambda: app.state.services, rules=rules)
    if chosen.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=chosen.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["Retry-After"],
        )
    named, quotas = keys.from_environment(), keys.Quotas(_quota_file(chosen))
    if named and chosen.api_key is None:
        raise UsageError("set STPE_API_KEY beside STPE_API_KEYS: a key of the server's own")
    app.add_middleware(Entry, settings=chosen, keys=named, quotas=quotas)
    _describe(app, keyed=chosen.api_key is not None)
    return app


def _quota_file(settings: Settings) -> Path | None:
    return None if settings.shared is None else settings.shared / "quotas.sqlite3"


def _services(settings: Settings, engine: Engine, folder: Path) -> Services:
    work, metrics = Work(), Metrics()
    batcher = Batcher(work, settings.max_batch, settings.batch_wait_ms / 1000, metrics.batch)
    admission = Admission(settings.max_pending, settings.memory_bytes)
    metrics.gauge("stpe_queue_requests", "Requests under way", lambda: admission.pending)
    metrics.gauge("stpe_queue_bytes", "Bytes they may hold", lambda: admission.held_bytes)
    metrics.gauge("stpe_connections", "Open connections", lambda: len(connections()))
    metrics.gauge("stpe_batch_waiting", "Images that wait for a model", lambda: batcher.waiting)
    roles = Roles(engine, settings.model_wait_s)
    uploads = Uploads(
        JobSettings.from_environment().uploads,
        work,
        settings.max_video_bytes,
        VideoSettings.from_environment().upload_bytes,
    )
    return Services(settings, roles, admission, work, batcher, metrics, uploads, folder)


def _describe(app: FastAPI, keyed: bool) -> None:
    """Make the OpenAPI document say what holds for every operation: problems and the key."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title, version=app.version, summary=app.summary, routes=app.routes
            )
            description.complete(schema, keyed)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
