"""Video sessions of one server: each with a lock, a cancel flag, a share of memory and an end."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from stpe.allocator import released
from stpe.errors import ModelError, SourceError, UsageError
from stpe.models.roles import Direction, VideoFrame, VideoSegmenter, VideoSession
from stpe.serve.environment import replicas
from stpe.serve.failures import BusyError, ConflictError, InvalidInputError, NotFoundError
from stpe.serve.services import Services
from stpe.serve.video.convert import to_role
from stpe.serve.video.schemas import Prompt
from stpe.serve.video.settings import VideoSettings
from stpe.video.isolated.frames import IsolatedFrames
from stpe.video.limits import Limits

T = TypeVar("T")


@dataclass
class Held:
    """One session and all that goes with it.

    Attributes:
        cancel: set to end what the session is doing after the frame it is at.
        lock: held by whoever uses `session` and `frames`.
        resources: closed with the session: folder and share of memory.
    """

    id: str
    session: VideoSession
    frames: IsolatedFrames
    warnings: list[str]
    resources: ExitStack
    cancel: threading.Event = field(default_factory=threading.Event)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    created: float = field(default_factory=time.time)
    used: float = field(default_factory=time.monotonic)
    closing: bool = False

    @property
    def held_bytes(self) -> int:
        """Bytes of frames, masks and features."""
        return self.frames.held_bytes + self.session.held_bytes

    def free(self) -> float:
        """Close everything; bytes it held. Blocks."""
        size = float(self.held_bytes)
        self.session.close()
        self.frames.close()
        self.resources.close()
        released()
        return size


class Sessions:
    """Used from the server's event loop; models and decoders run in its worker threads."""

    def __init__(self, shared: Services, settings: VideoSettings) -> None:
        self.settings = settings
        self._shared = shared
        self._all: dict[str, Held] = {}
        self._starting = 0

    def __len__(self) -> int:
        return len(self._all)

    def all(self) -> list[Held]:
        """Every session, oldest first."""
        return list(self._all.values())

    def get(self, session_id: str) -> Held:
        """Raises NotFoundError."""
        held = self._all.get(session_id)
        if held is None or held.closing:
            raise NotFoundError("there is no session by that id; it may have expired")
        return held

    async def model(self) -> VideoSegmenter:
        """The model. Raises ModelError, LoadingError."""
        if not self.settings.enabled:
            raise ModelError("video sessions are turned off here; set VIDEO_MODEL_ENABLED=true")
        found: VideoSegmenter = await self._shared.roles.get("video_segmenter")
        return found

    async def start(
        self, *, path: str | None = None, url: str | None = None, upload_id: str | None = None
    ) -> Held:
        """A new session on one of the three.

        Raises:
            StpeError: no room, no model, no such file, or no video.
        """
        if replicas() > 1:
            raise ModelError(
                f"video sessions live in one process, and {replicas()} replicas serve here; start "
                "the server without --replicas for sessions"
            )
        model = await self.model()
        if len(self._all) + self._starting >= self.settings.max_sessions:
            await self.expire()
        if len(self._all) + self._starting >= self.settings.max_sessions:
            raise BusyError(
                f"all {self.settings.max_sessions} sessions are in use; end one or try later", 30.0
            )
        self._starting += 1
        stack = ExitStack()
        gone = threading.Event()
        try:
            stack.enter_context(self._shared.admission.memory(self.settings.frame_bytes))
            folder = Path(tempfile.mkdtemp(dir=self._shared.folder))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            said, file = await self._file(path, url, upload_id, folder, stack)
            frames = await self._shared.work.transfer(
                _frames, file, said, self._shared.limits, self.settings.frame_bytes, gone
            )
            held = Held(
                uuid.uuid4().hex, model.open(frames), frames, frames.warnings, stack.pop_all()
            )
            self._all[held.id] = held
            return held
        finally:
            gone.set()
            self._starting -= 1
            stack.close()

    async def _file(
        self,
        path: str | None,
        url: str | None,
        upload_id: str | None,
        folder: Path,
        stack: ExitStack,
    ) -> tuple[str, Path]:
        """What the file is called to the client, and the file."""
        if path is not None:
            return "video_path", await self._shared.work.transfer(self._shared.path, path)
        if url is not None:
            return "video_url", await self._shared.work.transfer(self._shared.fetch, url, folder)
        taken = self._shared.uploads.taken(upload_id or "")
        file = await self._shared.work.transfer(taken.__enter__)
        stack.push(taken.__exit__)
        return "the upload", file

    @asynccontextmanager
    async def using(self, held: Held) -> AsyncIterator[None]:
        """The session to oneself. Raises ConflictError while another request has it."""
        if held.lock.locked():
            raise ConflictError("the session is busy with another request; cancel that or wait")
        async with held.lock:
            if held.closing:
                raise NotFoundError("there is no session by that id; it was ended")
            held.cancel.clear()
            held.used = time.monotonic()
            try:
                yield
            finally:
                held.used = time.monotonic()

    async def call(self, call: Callable[..., T], *arguments: Any) -> T:
        """Run a call of the role in a worker thread. A wrong argument is the client's."""
        return await self._shared.work.short(_translated, call, *arguments)

    async def prompt(
        self, held: Held, index: int, prompts: Sequence[Prompt], object_id: int | None
    ) -> VideoFrame:
        """Make or correct objects. Raises InvalidInputError, NotFoundError, ConflictError."""
        async with self.using(held):
            if object_id is not None and object_id not in held.session.object_ids:
                raise NotFoundError(f"the session has no object {object_id}")
            size = held.frames.width, held.frames.height
            asked = await self.call(to_role, prompts, *size)
            return await self.call(held.session.prompt, index, asked, object_id)

    async def propagate(
        self, held: Held, direction: Direction, start: int | None, most: int | None
    ) -> AsyncGenerator[VideoFrame | None, None]:
        """Follow the objects; frames as they come, None for each on the way to the first. Closing
        the generator stops the work after the frame it is at; so does `held.cancel`."""
        async with self.using(held):
            cancelled = held.cancel.is_set
            steps = await self.call(held.session.propagate, direction, start, most, cancelled)
            try:
                # Step by step, so that sessions and single images share the threads fairly.
                while True:
                    step = asyncio.ensure_future(self.call(_next, steps))
                    try:
                        found = await asyncio.shield(step)
                    except asyncio.CancelledError:
                        held.cancel.set()
                        await asyncio.wait({step})
                        raise
                    if not found:
                        return
                    held.used = time.monotonic()
                    yield found[0]
            finally:
                steps.close()

    async def remove(self, held: Held, object_id: int) -> None:
        """Forget an object. Raises NotFoundError, ConflictError."""
        async with self.using(held):
            if object_id not in held.session.object_ids:
                raise NotFoundError(f"the session has no object {object_id}")
            held.session.remove_object(object_id)

    async def reset(self, held: Held) -> int:
        """Stop what the session does and forget its objects; how many there were."""
        held.cancel.set()
        async with held.lock:
            count = len(held.session.object_ids)
            held.session.reset()
            held.used = time.monotonic()
            return count

    async def end(self, held: Held) -> float:
        """Stop what the session does and free it; bytes it held."""
        if held.closing:
            raise NotFoundError("there is no session by that id; it was ended")
        held.closing = True
        held.cancel.set()
        async with held.lock:
            self._all.pop(held.id, None)
            return await self._shared.work.transfer(held.free)

    async def expire(self) -> None:
        """End sessions that nobody used for the time they have, and forget such uploads."""
        now = time.monotonic()
        for held in self.all():
            idle = now - held.used > self.settings.timeout_s
            if idle and not held.lock.locked() and not held.closing:
                await self.end(held)
        await self._shared.work.transfer(self._shared.uploads.expire, self.settings.timeout_s)

    async def end_all(self) -> None:
        """End every session."""
        for held in self.all():
            if not held.closing:
                await self.end(held)

    @property
    def held_bytes(self) -> int:
        """Bytes of all sessions."""
        return sum(held.held_bytes for held in self.all())


def _next(steps: Iterator[T]) -> list[T]:
    """The next step alone; none at the end."""
    return list(islice(steps, 1))


def _translated(call: Callable[..., T], *arguments: Any) -> T:
    try:
        return call(*arguments)
    except UsageError as error:
        raise InvalidInputError(str(error)) from None


def _frames(
    file: Path, said: str, limits: Limits, budget_bytes: int, gone: threading.Event
) -> IsolatedFrames:
    """Open and index a video; its place in the server is not told."""
    try:
        return IsolatedFrames(file, limits, budget_bytes, gone.is_set)
    except SourceError as error:
        raise type(error)(f"{said}: {error}") from None
