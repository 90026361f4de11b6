"""The promptable video sessions API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Annotated, Literal

from fastapi import (
    APIRouter,
    Depends,
    FastAPI,
    Path,
    Query,
    Request,
    Response,
    WebSocket,
    WebSocketDisconnect,
)
from pydantic import BaseModel, Field, ValidationError
from starlette.requests import HTTPConnection

from stpe.errors import StpeError
from stpe.models.roles import VideoFrame
from stpe.serve import problems
from stpe.serve.failures import ConflictError, LoadingError, UnsupportedMediaError
from stpe.serve.payload import (
    IMAGE_TYPES,
    check_type,
    decode_base64,
    decode_image,
    estimated_bytes,
)
from stpe.serve.services import BodyRule, Feature, Services, services
from stpe.serve.settings import Settings
from stpe.serve.uploads import Upload
from stpe.serve.video.convert import found, from_role, to_role
from stpe.serve.video.schemas import (
    Deleted,
    FrameMessage,
    MaskFormat,
    Prompted,
    PromptRequest,
    Propagated,
    PropagateRequest,
    Removed,
    Reset,
    SegmentedImage,
    SegmentRequest,
    SessionList,
    SessionStatus,
    Started,
    StartRequest,
    Uploaded,
    VideoInfo,
    unused,
)
from stpe.serve.video.sessions import Held, Sessions
from stpe.serve.video.settings import VideoSettings
from stpe.video.frame import ImageHW3

_PREFIX = "/api/v1/video"
_UPLOAD_PATHS = ("/uploads", f"{_PREFIX}/uploads")

router = APIRouter(tags=["video sessions"])
Shared = Annotated[Services, Depends(services)]


def _sessions(connection: HTTPConnection) -> Sessions:
    found_here: Sessions = connection.app.state.video_sessions
    return found_here


Here = Annotated[Sessions, Depends(_sessions)]
#: Query parameter beside the body's field of that name, which it overrides.
Masks = Annotated[MaskFormat | None, Query(alias="mask_format")]
SessionId = Annotated[str, Path(max_length=64, description="as starting answered")]
ObjectNumber = Annotated[int, Path(ge=1, le=1 << 53)]


@router.post(
    f"{_PREFIX}/session/start",
    responses=problems.responses(403, 404, 409, 413, 422, 429, 503),
)
async def start(body: StartRequest, here: Here, shared: Shared) -> Started:
    """Open a video: a path below the server's media folders, a URL, or a complete upload, which
    the session then owns. It is decoded once to learn its true frame count and times."""
    held = await here.start(path=body.video_path, url=body.video_url, upload_id=body.upload_id)
    warnings = [*unused(body), *held.warnings]
    if body.gpu_ids and shared.roles.engine.selection.profile == "embedded":
        warnings.append("gpu_ids were not used: the model runs on the CPU")
    elif body.gpu_ids and not set(body.gpu_ids) <= set(here.settings.gpus or body.gpu_ids):
        warnings.append(f"gpu_ids were not used: this server offers {here.settings.gpus}")
    return Started(session_id=held.id, video_info=_info(held), warnings=warnings)


@router.get(f"{_PREFIX}/session/{{session_id}}/status", responses=problems.responses(404))
async def status(session_id: SessionId, here: Here, shared: Shared) -> SessionStatus:
    """What the session is and holds."""
    return _status(here.get(session_id), here, shared)


@router.get(f"{_PREFIX}/sessions")
async def listing(here: Here, shared: Shared) -> SessionList:
    """Every session."""
    sessions = [_status(held, here, shared) for held in here.all()]
    return SessionList(sessions=sessions, max_sessions=here.settings.max_sessions)


@router.delete(f"{_PREFIX}/session/{{session_id}}", responses=problems.responses(404))
async def end(session_id: SessionId, here: Here) -> Deleted:
    """Stop what the session does and free what it holds."""
    freed = await here.end(here.get(session_id))
    return Deleted(session_id=session_id, memory_freed_mb=freed / 1e6)


@router.post(f"{_PREFIX}/session/{{session_id}}/reset", responses=problems.responses(404))
async def reset(session_id: SessionId, here: Here) -> Reset:
    """Stop what the session does and forget its objects. Their ids are not given again."""
    count = await here.reset(here.get(session_id))
    return Reset(session_id=session_id, objects_removed=count)


@router.post(
    f"{_PREFIX}/session/{{session_id}}/prompt", responses=problems.responses(404, 409, 422, 503)
)
async def prompt(
    session_id: SessionId,
    body: PromptRequest,
    here: Here,
    shared: Shared,
    mask_format: Masks = None,
) -> Prompted:
    """Name or point at what to follow, in one frame."""
    held = here.get(session_id)
    frame = await here.prompt(held, body.frame_index, body.prompts, body.obj_id)
    ids = [one.id for one in frame.objects]
    return Prompted(
        session_id=session_id,
        frame_index=frame.index,
        pts=frame.pts,
        obj_id=ids[0] if ids else None,
        obj_ids=ids,
        objects=await shared.work.short(found, frame.objects, mask_format or body.mask_format),
        warnings=[*unused(body), *frame.warnings],
    )


@router.delete(
    f"{_PREFIX}/session/{{session_id}}/object/{{obj_id}}", responses=problems.responses(404, 409)
)
async def remove(session_id: SessionId, obj_id: ObjectNumber, here: Here) -> Removed:
    """Forget one object; the others go on."""
    held = here.get(session_id)
    await here.remove(held, obj_id)
    return Removed(session_id=session_id, obj_id=obj_id, object_ids=list(held.session.object_ids))


@router.post(
    f"{_PREFIX}/session/{{session_id}}/propagate", responses=problems.responses(404, 409, 422)
)
async def propagate(
    session_id: SessionId,
    body: PropagateRequest,
    request: Request,
    here: Here,
    shared: Shared,
    mask_format: Masks = None,
) -> Propagated:
    """Follow every object and answer all frames at once; the WebSocket answers as they come."""
    begun = time.perf_counter()
    results = []
    held = here.get(session_id)
    frames = here.propagate(held, body.direction, body.start_frame_index, body.max_frames)
    async with aclosing(frames):
        async for frame in frames:
            if frame is not None:
                masks = mask_format or body.mask_format
                results.append(await shared.work.short(from_role, frame, masks))
            if await request.is_disconnected():
                break
    if held.cancel.is_set():
        raise ConflictError("the propagation was stopped by a reset or the end of the session")
    return Propagated(
        session_id=session_id,
        results=results,
        total_frames=len(results),
        processing_time_ms=1000 * (time.perf_counter() - begun),
        warnings=unused(body),
    )


class Complete(BaseModel):
    """The last message of a propagation that came to its end or was cancelled."""

    type: Literal["complete"] = "complete"
    total_frames: int
    cancelled: bool
    warnings: list[str] = Field(description="what of the request was not done, and why")


class Failure(BaseModel):
    """The last message of one that failed."""

    type: Literal["error"] = "error"
    error: str


@router.websocket("/ws/propagate/{session_id}")
@router.websocket(f"{_PREFIX}/ws/propagate/{{session_id}}")
async def stream(socket: WebSocket, session_id: str, mask_format: Masks = None) -> None:
    """Follow every object and send each frame as it comes. The client sends one
    `PropagateRequest`, and may send `{"type": "cancel"}`; leaving stops the work."""
    await socket.accept()
    here = _sessions(socket)
    try:
        body = PropagateRequest.model_validate_json(await socket.receive_text())
        if mask_format is not None:
            body.mask_format = mask_format
        held = here.get(session_id)
        total, cancelled = await _stream(socket, here, held, body)
        done = Complete(total_frames=total, cancelled=cancelled, warnings=unused(body))
        await _say(socket, done)
    except WebSocketDisconnect:
        return
    except StpeError as error:
        await _say(socket, Failure(error=str(error)))
    except (ValidationError, KeyError):
        await _say(
            socket, Failure(error="send {direction, start_frame_index, max_frames} as JSON text")
        )
    except Exception as error:
        problems.of_unforeseen(error)
        await _say(socket, Failure(error="the server failed on this; its log says more"))
    with suppress(RuntimeError, WebSocketDisconnect):
        await socket.close()


async def _stream(
    socket: WebSocket, here: Sessions, held: Held, body: PropagateRequest
) -> tuple[int, bool]:
    """Frames sent, and whether the client stopped it. Raises WebSocketDisconnect."""
    shared = services(socket)
    total = 0
    frames = here.propagate(held, body.direction, body.start_frame_index, body.max_frames)
    stop = asyncio.create_task(_stopped(socket))
    try:
        async with aclosing(frames):
            while True:
                step = asyncio.create_task(_next(frames))
                await asyncio.wait({step, stop}, return_when=asyncio.FIRST_COMPLETED)
                if stop.done() and not step.done():  # a step that is done may be a refusal
                    held.cancel.set()
                came = await step
                if stop.done():
                    stop.result()
                    return total, True
                if not came:
                    return total, held.cancel.is_set()
                if came[0] is None:
                    continue
                answer = await shared.work.short(from_role, came[0], body.mask_format)
                await _say(socket, FrameMessage(**dict(answer)))
                total += 1
    finally:
        stop.cancel()


async def _next(frames: AsyncIterator[VideoFrame | None]) -> list[VideoFrame | None]:
    """The next step alone; none at the end."""
    async for frame in frames:
        return [frame]
    return []


async def _stopped(socket: WebSocket) -> None:
    """Return when the client cancels. Raises WebSocketDisconnect when it leaves."""
    while True:
        text = await socket.receive_text()
        with suppress(ValidationError):
            Cancel.model_validate_json(text)
            return


class Cancel(BaseModel):
    """What a client sends to end a propagation."""

    type: Literal["cancel"]


async def _say(socket: WebSocket, message: BaseModel) -> None:
    try:
        await socket.send_text(message.model_dump_json())
    except RuntimeError:  # it has left
        raise WebSocketDisconnect(1006) from None


_Raw = {
    "requestBody": {
        "description": "the next bytes of the file",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post(
    _UPLOAD_PATHS[0],
    openapi_extra=_Raw,
    responses=problems.responses(404, 409, 413, 415, 429, 503),
)
@router.post(_UPLOAD_PATHS[1], include_in_schema=False)
async def upload(
    request: Request,
    shared: Shared,
    upload_id: Annotated[
        str | None, Query(max_length=64, description="of an upload begun before")
    ] = None,
    offset: Annotated[int, Query(ge=0, description="bytes that are there already")] = 0,
    total_bytes: Annotated[
        int | None, Query(ge=1, description="of the whole file; given at the beginning")
    ] = None,
) -> Uploaded:
    """Send a file, or the next piece of one. After a break, `GET /uploads/{upload_id}` says at
    which offset to go on; begin with an empty body to know the id before the first byte."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("multipart/") or kind == "application/json":
        raise UnsupportedMediaError("send the file itself as application/octet-stream")
    uploads = shared.uploads
    one = uploads.begin(total_bytes) if upload_id is None else uploads.get(upload_id)
    try:
        await uploads.append(one, offset, request.stream())
    finally:
        # Whoever does not learn the id could not go on with it, nor delete it.
        if upload_id is None and (not one.whole or await request.is_disconnected()):
            await shared.work.transfer(uploads.delete, one)
    return _uploaded(one)


@router.get("/uploads/{upload_id}", responses=problems.responses(404))
@router.get(f"{_PREFIX}/uploads/{{upload_id}}", include_in_schema=False)
async def upload_status(upload_id: Annotated[str, Path(max_length=64)], shared: Shared) -> Uploaded:
    """How much of an upload is here."""
    return _uploaded(shared.uploads.get(upload_id))


@router.delete("/uploads/{upload_id}", status_code=204, responses=problems.responses(404, 409))
@router.delete(f"{_PREFIX}/uploads/{{upload_id}}", status_code=204, include_in_schema=False)
async def upload_delete(upload_id: Annotated[str, Path(max_length=64)], shared: Shared) -> Response:
    """Remove an upload that no session has taken and no job uses."""
    await shared.work.transfer(shared.uploads.delete, shared.uploads.get(upload_id))
    return Response(status_code=204)


@router.post("/api/v1/image/segment", responses=problems.responses(413, 415, 422, 429, 503))
async def segment(
    body: SegmentRequest, here: Here, shared: Shared, mask_format: Masks = None
) -> SegmentedImage:
    """Segment one image by words, boxes, points or a mask."""
    begun = time.perf_counter()
    model = await here.model()
    data = await shared.work.short(decode_base64, body.imageBase64, "imageBase64")
    check_type(data, body.mimeType, IMAGE_TYPES)
    with shared.admission.memory(estimated_bytes(data, shared.limits)):
        image = await shared.work.short(decode_image, data, shared.limits)
        session = model.open(_Still(image))
        try:
            size = image.shape[1], image.shape[0]
            asked = await shared.work.short(to_role, body.prompts, *size)
            frame = await here.call(session.prompt, 0, asked, None)
        finally:
            session.close()
    return SegmentedImage(
        width=image.shape[1],
        height=image.shape[0],
        objects=await shared.work.short(found, frame.objects, mask_format or body.mask_format),
        warnings=[*unused(body), *frame.warnings],
        model=shared.roles.model_id("video_segmenter") or "",
        processing_time_ms=1000 * (time.perf_counter() - begun),
    )


class _Still:
    """A video of one image."""

    pts = (0.0,)

    def __init__(self, image: ImageHW3) -> None:
        self._image = image

    def image(self, index: int) -> ImageHW3:
        return self._image


def _info(held: Held) -> VideoInfo:
    frames = held.frames
    return VideoInfo(
        total_frames=len(frames.pts),
        width=frames.width,
        height=frames.height,
        fps=frames.fps,
        duration_s=frames.duration_s,
        first_pts=frames.pts[0],
    )


def _status(held: Held, here: Sessions, shared: Services) -> SessionStatus:
    idle = time.monotonic() - held.used
    return SessionStatus(
        session_id=held.id,
        status="processing" if held.lock.locked() else "active",
        state="busy" if held.lock.locked() else "idle",
        model=shared.roles.model_id("video_segmenter") or "",
        video_info=_info(held),
        current_objects=list(held.session.object_ids),
        object_ids=list(held.session.object_ids),
        created_at=held.created,
        idle_seconds=idle,
        expires_in_seconds=max(0.0, here.settings.timeout_s - idle),
        memory_mb=held.held_bytes / 1e6,
    )


def _uploaded(one: Upload) -> Uploaded:
    return Uploaded(
        upload_id=one.id,
        offset=one.offset,
        total_bytes=one.total_bytes,
        complete=one.complete,
    )


@asynccontextmanager
async def _running(app: FastAPI, shared: Services) -> AsyncIterator[None]:
    settings = VideoSettings.from_environment()
    here = app.state.video_sessions = Sessions(shared, settings)
    shared.metrics.gauge("stpe_video_sessions", "Sessions", lambda: len(here))
    shared.metrics.gauge("stpe_video_session_bytes", "What they hold", lambda: here.held_bytes)
    while settings.required:
        with suppress(LoadingError):
            await here.model()
            break
    sweeper = asyncio.create_task(_sweep(here))
    try:
        yield
    finally:
        sweeper.cancel()
        await here.end_all()


async def _sweep(here: Sessions) -> None:
    while True:
        await asyncio.sleep(here.settings.cleanup_s)
        try:
            await here.expire()
        except Exception as error:
            problems.of_unforeseen(error)


def _bodies(settings: Settings) -> list[BodyRule]:
    return [BodyRule(path, settings.max_video_bytes, 0) for path in _UPLOAD_PATHS]


FEATURE = Feature(router, _running, _bodies)
