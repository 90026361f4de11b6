"""STPE over HTTP and WebSocket: one FastAPI application for every API, on the same model roles.

How the room is built:

- `settings.py`: the operator's settings; `environment.py`: their base. An API with settings of its
  own derives its own `Environment` with an alias a field and reads it by `from_environment()`.
- `services.py`: `Services`, what all APIs share, and `Feature`, what an API is.
- `app.py`: `FEATURES` lists the APIs; `create_app(settings)` puts them together.
- `guard.py`: key, host, origin, body size and admission, before any API sees a request.
- `failures.py`: errors that only a server has, each with its status; `problems.py` turns every
  `StpeError` into a problem document. Raise; never build an error response by hand.
- `roles.py`: models, loaded in the background. `work.py`: threads. `batching.py`: single images
  of concurrent requests meet in one model call. `admission.py`: room in queue and memory.
- `fetch.py`: URLs, safely. `paths.py`: files of the server, safely. `payload.py`: base64, content
  types and pictures. `metrics.py`: Prometheus.

To add an API, write `routes/<name>.py`:

    router = APIRouter(tags=["sessions"])
    Shared = Annotated[Services, Depends(services)]

    @router.post("/things", responses=problems.responses(404, 413))
    async def make(body: ThingRequest, shared: Shared) -> Thing:
        model = await shared.roles.get("segmenter")           # LoadingError, ModelError
        path = await shared.work.transfer(shared.fetch, body.url, folder)   # blocking: a thread
        with shared.admission.memory(estimated_bytes):        # BusyError, TooLargeError
            return await shared.work.long(compute, model, path)

    @asynccontextmanager
    async def running(app: FastAPI, shared: Services) -> AsyncIterator[None]:
        app.state.things = Things(...)        # a route reads request.app.state.things
        yield                                 # then clean up

    FEATURE = Feature(router, running, bodies=lambda s: [BodyRule("/uploads", 1 << 40, held=0)])

and one line in `app.FEATURES`. `shared.limits` bounds `open_source`, `shared.path(text)` resolves a
client's path below the configured roots, `shared.metrics.gauge(name, text, read)` and
`shared.metrics.stage(task, stage)` count. `shared.roles.engine` is the `Engine`.
"""
