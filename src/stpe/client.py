"""A small client of `stpe serve`.

>>> with Client("http://127.0.0.1:8000") as client:                        # doctest: +SKIP
...     answer = client.infer("object-detection", Path("street.jpg"))
...     [(found.label, found.score, found.box) for found in answer.results]
"""

from __future__ import annotations

import base64
import mimetypes
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import httpx
import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from stpe.errors import StpeError, UsageError
from stpe.serve.clip import ReadClassified
from stpe.serve.tasks.schemas import (
    ConceptAnswer,
    DepthAnswer,
    DetectAnswer,
    InferAnswer,
    PoseAnswer,
    SegmentAnswer,
    VelocityAnswer,
)

Answer = DetectAnswer | SegmentAnswer | PoseAnswer | ConceptAnswer | DepthAnswer | VelocityAnswer

T = TypeVar("T")

_ANSWER: TypeAdapter[Answer] = TypeAdapter(InferAnswer)
_CLASSIFIED = TypeAdapter(ReadClassified)


class RequestFailedError(StpeError):
    """The server refused a request or could not do it.

    Attributes:
        status: of HTTP.
        problem: the problem document (RFC 9457), as far as there was one.
        retry_after_s: when the server says to try again, or None.
    """

    def __init__(self, response: httpx.Response) -> None:
        try:
            body = response.json()
        except ValueError:
            body = {}
        self.problem: dict[str, Any] = body if isinstance(body, dict) else {}
        self.status = response.status_code
        waits = response.headers.get("retry-after", "")
        self.retry_after_s = float(waits) if waits.isdigit() else None
        detail = self.problem.get("detail") or response.reason_phrase
        super().__init__(f"the server answered {self.status}: {detail}")


class UnreadableAnswerError(StpeError):
    """What answered is not this API: a proxy's page, another service, another version."""


class Client:
    """Blocking calls of one server; a context manager, safe to share between threads.

    Args:
        server: its address.
        api_key: its key, if it has one.
        timeout_s: for an answer.
    """

    def __init__(
        self,
        server: str = "http://127.0.0.1:8000",
        api_key: str | None = None,
        timeout_s: float = 120.0,
    ) -> None:
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._http = httpx.Client(
            base_url=server.rstrip("/"), headers=headers, timeout=timeout_s, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close connections."""
        self._http.close()

    def call(self, method: str, path: str, **how: Any) -> httpx.Response:
        """Any request, as httpx takes it.

        Raises:
            RequestFailedError: the answer is not a success.
            UsageError: the server cannot be reached.
            UnreadableAnswerError: its answer is not encoded as it says.
        """
        try:
            response = self._http.request(method, path, **how)
        except httpx.TransportError as error:
            what = str(error) or type(error).__name__
            raise UsageError(f"{self._http.base_url} cannot be reached: {what}") from error
        except httpx.DecodingError as error:
            raise UnreadableAnswerError(f"{self._http.base_url} answered: {error}") from error
        if not response.is_success:
            raise RequestFailedError(response)
        return response

    def health(self) -> dict[str, Any]:
        """What the server is and has loaded."""
        found: dict[str, Any] = self.call("GET", "/health").json()
        return found

    def wait_ready(self, timeout_s: float = 300.0) -> None:
        """Return once every model is loaded. Raises as `call` when that takes too long."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self.call("GET", "/health/ready")
                return
            except (RequestFailedError, UsageError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def infer(
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
        if isinstance(payload, Path):
            mime_type = mime_type or mimetypes.guess_type(payload.name)[0]
            payload = payload.read_bytes()
        if mime_type is None:
            raise UsageError("give mime_type: it cannot be told from the payload's name")
        body = {
            "task": task,
            "model": model,
            "payloadBase64": base64.b64encode(payload).decode("ascii"),
            "mimeType": mime_type,
            "options": options,
        }
        return _read(_ANSWER, self.call("POST", "/infer", json=body))

    def classify(
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
        if isinstance(frames, np.ndarray):
            height, width = frames.shape[1:3]
            encoded = [np.ascontiguousarray(frame).tobytes() for frame in frames]
        elif size is not None:
            (width, height), encoded = size, list(frames)
        else:
            raise UsageError("give size=(width, height) of the encoded frames")
        body = {
            "frames": [base64.b64encode(frame).decode("ascii") for frame in encoded],
            "width": width,
            "height": height,
            "format": channels,
        }
        return _read(_CLASSIFIED, self.call("POST", "/api/v1/infer", json=body))


def _read(kind: TypeAdapter[T], response: httpx.Response) -> T:
    try:
        return kind.validate_json(response.content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UnreadableAnswerError(
            f"{response.url} answered what cannot be read: {where} {first['msg']}; is it another "
            "service?"
        ) from error
