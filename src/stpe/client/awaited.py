"""The client for programs with an event loop; the twin of `blocking.py`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import httpx
import numpy as np
from numpy.typing import NDArray

from stpe import strict_json
from stpe.client import connection, requests
from stpe.client.errors import RequestFailedError
from stpe.client.events import Events
from stpe.client.requests import Answer, Prompts, Request
from stpe.client.retry import Retry
from stpe.errors import UsageError
from stpe.models.roles import Direction
from stpe.serve.clip import ReadClassified
from stpe.serve.jobs.states import JobEvent, RunStatus
from stpe.serve.video.schemas import (
    Deleted,
    FrameObjects,
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

T = TypeVar("T")


class AsyncClient:
    """Calls of one server that do not block the event loop; as `Client` otherwise.

    Args:
        server: its address.
        api_key: its key, if it has one.
        timeout_s: for an answer.
        retry: when a request that failed is sent again; by default never.
        deadline_s: after which the server itself gives a request up.
    """

    def __init__(
        self,
        server: str = "http://127.0.0.1:8000",
        api_key: str | None = None,
        timeout_s: float = 120.0,
        retry: Retry | None = None,
        deadline_s: float | None = None,
    ) -> None:
        self._socket_headers = connection.key_headers(api_key)
        self._retry = retry or Retry()
        self._http = httpx.AsyncClient(
            **connection.settings(server, api_key, timeout_s, deadline_s)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close connections."""
        await self._http.aclose()

    async def call(self, method: str, path: str, **how: Any) -> httpx.Response:
        """Any request, once, as httpx takes it.

        Raises:
            RequestFailedError: the answer is not a success.
            UsageError: the server cannot be reached.
            UnreadableAnswerError: its answer is not encoded as it says.
        """
        try:
            response = await self._http.request(method, path, **how)
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise connection.failed(self._http.base_url, error) from error
        return connection.checked(response)

    async def send(self, request: Request[T]) -> T:
        """A request of `stpe.client.requests`, as often as `retry` says. Raises as `call`."""
        tried = 0
        while True:
            try:
                response = await self.call(request.method, request.path, **request.how)
                return request.read(response)
            except (RequestFailedError, UsageError) as error:
                tried += 1
                wait_s = self._retry.wait_s(error, request, tried)
                if wait_s is None:
                    raise
            await asyncio.sleep(wait_s)

    async def wait_ready(self, timeout_s: float = 300.0) -> None:
        """Return once every model is loaded. Raises as `call` when that takes too long."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                await self.call("GET", "/health/ready")
                return
            except (RequestFailedError, UsageError):
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.2)

    async def health(self) -> dict[str, Any]:
        """What the server is and has loaded."""
        return await self.send(requests.health())

    async def infer(
        self,
        task: str,
        payload: bytes | Path,
        mime_type: str | None = None,
        *,
        model: str | None = None,
        **options: Any,
    ) -> Answer:
        """Run a task of `POST /infer` on an encoded image or video.

        Args:
            task: such as "object-detection".
            payload: the file, or its content.
            mime_type: what it is; told from the file's name if None.
            model: id of the model; the server's own if None.
            options: of the task, such as `threshold`.
        """
        return await self.send(requests.infer(task, payload, mime_type, model, options))

    async def classify(
        self,
        frames: NDArray[np.uint8] | Sequence[bytes],
        size: tuple[int, int] | None = None,
        channels: Literal["BGR", "RGB"] = "RGB",
    ) -> ReadClassified:
        """The best classes of a clip of 16 frames.

        Args:
            frames: 16 x height x width x 3 uint8, or 16 encoded JPEG or PNG images.
            size: (width, height) of encoded images.
            channels: order of an array's channels.
        """
        return await self.send(requests.classify(frames, size, channels))

    async def segment(
        self, image: bytes | Path, prompts: Prompts, mime_type: str | None = None
    ) -> SegmentedImage:
        """Objects of one image by words, boxes, points or a mask."""
        return await self.send(requests.segment(image, prompts, mime_type))

    async def start_session(
        self,
        *,
        video_path: str | None = None,
        video_url: str | None = None,
        upload_id: str | None = None,
    ) -> Started:
        """A session on a video that the server has, fetches, or was sent by `upload`."""
        return await self.send(requests.start_session(video_path, video_url, upload_id))

    async def sessions(self) -> SessionList:
        """Every session."""
        return await self.send(requests.sessions())

    async def session_status(self, session_id: str) -> SessionStatus:
        """A session now."""
        return await self.send(requests.session_status(session_id))

    async def prompt(
        self, session_id: str, frame_index: int, prompts: Prompts, obj_id: int | None = None
    ) -> Prompted:
        """What to follow, in one frame; masks come as {size, counts}."""
        return await self.send(requests.prompt(session_id, frame_index, prompts, obj_id))

    async def propagate(
        self,
        session_id: str,
        direction: Direction = "both",
        start: int | None = None,
        max_frames: int | None = None,
    ) -> Propagated:
        """Follow the objects; all frames at once."""
        return await self.send(requests.propagate(session_id, direction, start, max_frames))

    async def remove_object(self, session_id: str, obj_id: int) -> Removed:
        """Forget an object."""
        return await self.send(requests.remove_object(session_id, obj_id))

    async def reset_session(self, session_id: str) -> Reset:
        """Stop what a session does and forget its objects."""
        return await self.send(requests.reset_session(session_id))

    async def end_session(self, session_id: str) -> Deleted:
        """End a session; what it held is freed."""
        return await self.send(requests.end_session(session_id))

    async def submit(self, operation: str, key: str | None = None, **data: Any) -> RunStatus:
        """Queue an operation of `docs/jobs.md`; the same `key` again is the same job."""
        return await self.send(requests.submit(operation, data, key))

    async def job(self, job_id: str) -> RunStatus:
        """How a job stands."""
        return await self.send(requests.job(job_id))

    async def cancel(self, job_id: str) -> RunStatus:
        """End a job now."""
        return await self.send(requests.cancel(job_id))

    async def upload(self, path: Path) -> Uploaded:
        """Send a file in pieces; one that breaks off is gone on with where it stopped."""
        total = path.stat().st_size
        state = await self.send(requests.begin_upload(total))
        tried = 0
        with path.open("rb") as file:
            while not state.complete:
                file.seek(state.offset)
                read = await asyncio.to_thread(file.read, connection.PIECE_BYTES)
                data = connection.piece(read)
                piece = requests.upload_piece(state.upload_id, state.offset, data)
                try:
                    state = await self.send(piece)
                    tried = 0
                except (RequestFailedError, UsageError) as error:
                    tried += 1
                    again = requests.upload_state(state.upload_id)
                    wait_s = self._retry.wait_s(error, again, tried)
                    if wait_s is None:
                        raise
                    await asyncio.sleep(wait_s)
                    state = await self.send(again)
        return state

    async def delete_upload(self, upload_id: str) -> None:
        """Remove an upload."""
        await self.send(requests.delete_upload(upload_id))

    async def run(self, operation: str, key: str | None = None, **data: Any) -> dict[str, Any]:
        """Queue an operation, wait for its end, and return what it answers. Raises JobFailedError,
        and as `call`."""
        job = await self.submit(operation, key, **data)
        return await self.wait(job.id)

    async def wait(self, job_id: str) -> dict[str, Any]:
        """What a job answers, once it has ended. Raises JobFailedError, and as `call`."""
        async for _ in self.follow(job_id):
            pass
        return connection.outcome(await self.job(job_id))

    async def follow(self, job_id: str) -> AsyncGenerator[JobEvent, None]:
        """Each change of a job until its end, over as many connections as it takes. Raises as
        `call`."""
        events, tried = Events(), 0
        probe = requests.job(job_id)
        while not events.ended:
            try:
                async with self._http.stream(
                    "GET", f"/jobs/{job_id}/events", headers=events.headers, timeout=None
                ) as stream:
                    if not stream.is_success:
                        await stream.aread()
                        raise RequestFailedError(stream)
                    if stream.status_code == 204:
                        return
                    async for line in stream.aiter_lines():
                        event = events.read(line)
                        if event is not None:
                            tried = 0
                            yield event
            except (httpx.TransportError, RequestFailedError) as error:
                tried += 1
                cause = connection.failed(self._http.base_url, error)
                wait_s = self._retry.wait_s(cause, probe, tried)
                if wait_s is None:
                    raise cause from error
                await asyncio.sleep(wait_s)

    async def stream(
        self,
        session_id: str,
        direction: Direction = "both",
        start: int | None = None,
        max_frames: int | None = None,
    ) -> AsyncGenerator[FrameObjects, None]:
        """Follow the objects of a session; each frame as it comes. Leaving the loop stops the work.

        Raises:
            SessionError: the server could not go on.
            MissingExtraError: the package `websockets` is not installed.
        """
        try:
            from websockets.asyncio.client import connect
        except ImportError:
            raise connection.no_websockets() from None
        url = connection.socket_url(self._http.base_url, session_id)
        async with connect(url, additional_headers=self._socket_headers, max_size=None) as socket:
            await socket.send(strict_json.dumps(requests.walk(direction, start, max_frames)))
            async for text in socket:
                frame = connection.frame_of(text)
                if frame is None:
                    return
                yield frame
