"""Every request of the server's APIs: what is sent, and how the answer is read. Both clients send
these."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import httpx
import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from stpe.client.errors import UnreadableAnswerError
from stpe.errors import UsageError
from stpe.models.roles import Direction
from stpe.serve.clip import ReadClassified
from stpe.serve.jobs.states import RunStatus
from stpe.serve.tasks.schemas import (
    ConceptAnswer,
    DepthAnswer,
    DetectAnswer,
    InferAnswer,
    PoseAnswer,
    SegmentAnswer,
    VelocityAnswer,
)
from stpe.serve.video.schemas import (
    Deleted,
    Prompted,
    Propagated,
    Removed,
    Reset,
    SegmentedImage,
    SessionList,
    SessionStatus,
    Started,
    Uploaded,
)

Answer = DetectAnswer | SegmentAnswer | PoseAnswer | ConceptAnswer | DepthAnswer | VelocityAnswer
Prompts = Sequence[Mapping[str, Any]]

T = TypeVar("T")

_ANSWER: TypeAdapter[Answer] = TypeAdapter(InferAnswer)
_VIDEO = "/api/v1/video"


@dataclass(frozen=True)
class Request(Generic[T]):
    """One request.

    Attributes:
        read: turns its answer into what the caller gets.
        how: arguments of `httpx.Client.request`.
        repeatable: whether sending it twice does what sending it once does.
    """

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    how: dict[str, Any] = field(default_factory=dict)
    repeatable: bool = True


def _as(kind: type[T] | TypeAdapter[T]) -> Callable[[httpx.Response], T]:
    adapter = kind if isinstance(kind, TypeAdapter) else TypeAdapter(kind)

    def read(response: httpx.Response) -> T:
        try:
            return adapter.validate_json(response.content)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise UnreadableAnswerError(
                f"{response.url} answered what cannot be read: {where} {first['msg']}; is it "
                "another service?"
            ) from error

    return read


def _known(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def encoded(data: bytes) -> str:
    """Base64 as bodies carry it."""
    return base64.b64encode(data).decode("ascii")


def health() -> Request[dict[str, Any]]:
    """What the server is and has loaded."""
    return Request("GET", "/health", _as(dict[str, Any]))


def ready() -> Request[dict[str, Any]]:
    """Whether every model is loaded."""
    return Request("GET", "/health/ready", _as(dict[str, Any]))


def infer(
    task: str,
    payload: bytes | Path,
    mime_type: str | None,
    model: str | None,
    options: Mapping[str, Any],
) -> Request[Answer]:
    """A task on an encoded image or video. Raises UsageError for a payload of unknown type."""
    data, kind = _file(payload, mime_type)
    body = {
        "task": task,
        "model": model,
        "payloadBase64": encoded(data),
        "mimeType": kind,
        "options": dict(options),
    }
    return Request("POST", "/infer", _as(_ANSWER), {"json": body})


def _file(payload: bytes | Path, mime_type: str | None) -> tuple[bytes, str]:
    if isinstance(payload, Path):
        mime_type = mime_type or mimetypes.guess_type(payload.name)[0]
        payload = payload.read_bytes()
    if mime_type is None:
        raise UsageError("give mime_type: it cannot be told from the payload's name")
    return payload, mime_type


def classify(
    frames: NDArray[np.uint8] | Sequence[bytes],
    size: tuple[int, int] | None,
    channels: Literal["BGR", "RGB"],
) -> Request[ReadClassified]:
    """The best classes of a clip. Raises UsageError for encoded frames without their size."""
    if isinstance(frames, np.ndarray):
        height, width = frames.shape[1:3]
        files = [np.ascontiguousarray(frame).tobytes() for frame in frames]
    elif size is not None:
        (width, height), files = size, list(frames)
    else:
        raise UsageError("give size=(width, height) of the encoded frames")
    body = {
        "frames": [encoded(frame) for frame in files],
        "width": width,
        "height": height,
        "format": channels,
    }
    return Request("POST", "/api/v1/infer", _as(ReadClassified), {"json": body})


# uploads ---------------------------------------------------------------------------------------


def begin_upload(total_bytes: int) -> Request[Uploaded]:
    """An empty upload."""
    how = {"params": {"total_bytes": total_bytes}}
    return Request("POST", "/uploads", _as(Uploaded), how, repeatable=False)


def upload_piece(upload_id: str, offset: int, data: bytes) -> Request[Uploaded]:
    """The bytes of an upload from an offset on."""
    how = {"params": {"upload_id": upload_id, "offset": offset}, "content": data}
    return Request("POST", "/uploads", _as(Uploaded), how, repeatable=False)


def upload_state(upload_id: str) -> Request[Uploaded]:
    """How much of an upload is there."""
    return Request("GET", f"/uploads/{upload_id}", _as(Uploaded))


def delete_upload(upload_id: str) -> Request[None]:
    """Remove an upload."""
    return Request("DELETE", f"/uploads/{upload_id}", lambda response: None)


# sessions --------------------------------------------------------------------------------------


def _session(method: str, path: str, kind: type[T], **body: Any) -> Request[T]:
    how = {"json": body} if method == "POST" else {}
    return Request(method, f"{_VIDEO}{path}", _as(kind), how, repeatable=method == "GET")


def start_session(
    video_path: str | None, video_url: str | None, upload_id: str | None
) -> Request[Started]:
    """A session on a video that the server knows by one of these."""
    given = _known(video_path=video_path, video_url=video_url, upload_id=upload_id)
    return _session("POST", "/session/start", Started, **given)


def sessions() -> Request[SessionList]:
    """Every session."""
    return _session("GET", "/sessions", SessionList)


def session_status(session_id: str) -> Request[SessionStatus]:
    """A session now."""
    return _session("GET", f"/session/{session_id}/status", SessionStatus)


def prompt(
    session_id: str, frame_index: int, prompts: Prompts, obj_id: int | None
) -> Request[Prompted]:
    """What to follow, in one frame."""
    body = _known(frame_index=frame_index, prompts=list(prompts), obj_id=obj_id)
    path = f"/session/{session_id}/prompt"
    return _session("POST", path, Prompted, mask_format="coco", **body)


def walk(direction: Direction, start: int | None, max_frames: int | None) -> dict[str, Any]:
    """The body of a propagation."""
    said = _known(start_frame_index=start, max_frames=max_frames)
    return {"direction": direction, "mask_format": "coco", **said}


def propagate(
    session_id: str, direction: Direction, start: int | None, max_frames: int | None
) -> Request[Propagated]:
    """Every frame of a propagation at once."""
    body = walk(direction, start, max_frames)
    return _session("POST", f"/session/{session_id}/propagate", Propagated, **body)


def remove_object(session_id: str, obj_id: int) -> Request[Removed]:
    """Forget an object."""
    return _session("DELETE", f"/session/{session_id}/object/{obj_id}", Removed)


def reset_session(session_id: str) -> Request[Reset]:
    """Forget every object."""
    return _session("POST", f"/session/{session_id}/reset", Reset)


def end_session(session_id: str) -> Request[Deleted]:
    """Free what a session holds."""
    return _session("DELETE", f"/session/{session_id}", Deleted)


def segment(
    image: bytes | Path, prompts: Prompts, mime_type: str | None
) -> Request[SegmentedImage]:
    """Objects of one image. Raises UsageError for an image of unknown type."""
    data, kind = _file(image, mime_type)
    body = {
        "imageBase64": encoded(data),
        "mimeType": kind,
        "prompts": list(prompts),
        "mask_format": "coco",
    }
    return Request("POST", "/api/v1/image/segment", _as(SegmentedImage), {"json": body})


# jobs ------------------------------------------------------------------------------------------


def submit(operation: str, data: Mapping[str, Any], key: str | None) -> Request[RunStatus]:
    """Queue an operation; safe to repeat with an idempotency key."""
    how: dict[str, Any] = {"json": {"input": {"operation": operation, "data": dict(data)}}}
    if key is not None:
        how["headers"] = {"Idempotency-Key": key}
    return Request("POST", "/run", _as(RunStatus), how, repeatable=key is not None)


def job(job_id: str) -> Request[RunStatus]:
    """How a job stands."""
    return Request("GET", f"/status/{job_id}", _as(RunStatus))


def cancel(job_id: str) -> Request[RunStatus]:
    """End a job."""
    return Request("POST", f"/cancel/{job_id}", _as(RunStatus))
