"""What every task does around its models: decode in time and memory, run, be left by its client."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import Request

from stpe.errors import SourceError
from stpe.models.roles import Detections
from stpe.serve.payload import (
    IMAGE_TYPES,
    check_type,
    decode_base64,
    decode_image,
    estimated_bytes,
    save,
)
from stpe.serve.services import Services
from stpe.video.frame import ImageHW3
from stpe.video.sampler import QUEUE_BYTES

_DEFAULT_MODELS = ("", "auto", "default")
_WEIGHT_FILES = ("pt", "pth", "onnx", "engine", "safetensors", "bin", "tflite")
_POLL_S = 0.25


def _plain(name: str) -> str:
    """A model's name without the folder or organisation before it and the file type behind it.

    >>> _plain("weights/YOLO26n.pt"), _plain("facebook/sam3")
    ('yolo26n', 'sam3')
    """
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2].lower()
    stem, dot, suffix = last.rpartition(".")
    return stem if dot and suffix in _WEIGHT_FILES else last


@dataclass
class Context:
    """One request of one task."""

    task: str
    shared: Services
    http: Request
    body: Any
    warnings: list[str] = field(default_factory=list)

    async def models(self, *roles: str) -> list[Any]:
        """The models of the task. One that the request names and that is not here is warned
        about: clients name the weights that another server had."""
        ids = [self.shared.roles.model_id(role) for role in roles]
        named = (self.body.model or "").strip()
        here = {*map(str, ids), "+".join(map(str, ids)), *_DEFAULT_MODELS}
        if _plain(named) not in here:
            self.warnings.append(
                f"model {named[:80]!r} is not served here; {self.model_names(*roles)} answered"
            )
        return [await self.shared.roles.get(role) for role in roles]

    def model_names(self, *roles: str) -> str:
        """What the answer says of the models."""
        return "+".join(i for i in map(self.shared.roles.model_id, roles) if i)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage of the task."""
        with self.shared.metrics.stage(self.task, name):
            yield

    async def payload(self, allowed: dict[str, str]) -> tuple[bytes, str]:
        """The payload and its family."""
        with self.stage("decode"):
            data = await self.shared.work.short(
                decode_base64, self.body.payloadBase64, "payloadBase64"
            )
            self.body.payloadBase64 = ""
            return data, check_type(data, self.body.mimeType, allowed)

    @asynccontextmanager
    async def image(self, data: bytes) -> AsyncIterator[ImageHW3]:
        """The decoded picture, for as long as its memory is admitted."""
        limits = self.shared.limits
        with self.shared.admission.memory(estimated_bytes(data, limits)):
            with self.stage("decode"):
                image = await self.shared.work.short(decode_image, data, limits)
            yield image

    @asynccontextmanager
    async def only_image(self) -> AsyncIterator[ImageHW3]:
        """The picture that the payload must be."""
        data, _ = await self.payload(IMAGE_TYPES)
        async with self.image(data) as image:
            yield image

    async def video(self, data: bytes, kind: str, call: Callable[..., Any], *more: Any) -> Any:
        """`call(path, stop, *more)` in a thread for long work; `stop` is set once the client has
        left, and the call then raises ClientLeftError."""
        stop = threading.Event()
        with (
            self.shared.admission.memory(2 * QUEUE_BYTES),
            tempfile.TemporaryDirectory(dir=self.shared.folder) as folder,
        ):
            path = await self.shared.work.transfer(save, data, kind, Path(folder))
            del data
            work = asyncio.create_task(self.shared.work.long(call, path, stop, *more))
            try:
                with self.stage("infer"):
                    while not (await asyncio.wait({work}, timeout=_POLL_S))[0]:
                        if await self.http.is_disconnected():
                            stop.set()
                return work.result()
            except SourceError as error:
                # The message names the temporary file; the client knows it as the payload.
                raise type(error)(str(error).replace(str(path), "the payload")) from None
            finally:
                stop.set()
                await asyncio.wait({work})

    async def detect(self, detector: Any, image: ImageHW3, threshold: float) -> Detections:
        """Boxes of one image, in one call with those of other requests."""
        found: Detections = await self.shared.batcher.submit(
            ("detector", threshold), lambda images: detector.detect(images, threshold), image
        )
        return found
