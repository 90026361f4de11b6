"""The video, ZIP or image that an input carries, on this machine."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from stpe.engine import Engine
from stpe.errors import StpeError
from stpe.pipeline.progress import Progress
from stpe.serve.payload import decode_base64, decode_image, estimated_bytes
from stpe.video.frame import ImageHW3
from stpe.video.limits import Limits

#: Larger pictures are no pictures.
_IMAGE_BYTES = 256 << 20


@dataclass(frozen=True)
class Worker:
    """What operations run on.

    Attributes:
        engine: models and pipeline.
        dataset: folder that videos are processed into.
        limits: of what clients send.
        fetch: (url, folder, most bytes, told how many came) to the file that the URL points to.
        upload: id of an upload to its file; raises NotFoundError, ConflictError.
        path: a path that a client names to the file; raises ForbiddenError, NotFoundError.
        folder: for temporary files; the system's by default.
        progress: told what the pipeline does; raises to stop it.
        staging: where a job that runs beside others gathers what it makes; None where it writes
            the dataset all the time.
    """

    engine: Engine
    dataset: Path
    limits: Limits
    fetch: Callable[[str, Path, int, Callable[[int], None]], Path]
    upload: Callable[[str], Path]
    path: Callable[[str], Path]
    folder: Path | None = None
    progress: Progress = field(default_factory=Progress)
    staging: Path | None = None


@dataclass(frozen=True)
class Given:
    """How an input names its file: by exactly one of these."""

    base64: str | None = None
    url: str | None = None
    upload_id: str | None = None
    path: str | None = None


@contextmanager
def file(worker: Worker, given: Given, name: str) -> Iterator[Path]:
    """What an input carries or names, as a file; called `name` in messages.

    Raises:
        InvalidInputError, ForbiddenError, NotFoundError, ConflictError, TooLargeError, SourceError:
            it cannot be had.
    """
    with tempfile.TemporaryDirectory(prefix="stpe-job-", dir=worker.folder) as folder:
        most = worker.limits.max_bytes or 1 << 40
        path = Path(folder, name)
        if given.base64 is not None:
            path.write_bytes(decode_base64(given.base64, name))
        elif given.upload_id is not None:
            path = worker.upload(given.upload_id)
        elif given.path is not None:
            path = worker.path(given.path)
        else:
            path = _fetched(worker, given.url or "", folder, most)
        try:
            yield path
        except StpeError as error:
            # Where the file lay is nothing the client knows or should.
            said = given.path or name
            error.args = (str(error).replace(str(path), said).replace(f"{folder}/", ""),)
            raise


def image(worker: Worker, base64: str | None, url: str | None) -> tuple[ImageHW3, str]:
    """An upright RGB image, and the first 16 hex digits of its file's sha256.

    Raises:
        InvalidInputError, ForbiddenError, TooLargeError, SourceError: it cannot be had or decoded.
    """
    if base64 is None:
        with tempfile.TemporaryDirectory(prefix="stpe-job-", dir=worker.folder) as folder:
            data = _fetched(worker, url or "", folder, _IMAGE_BYTES).read_bytes()
    else:
        data = decode_base64(base64, "the image")
    estimated_bytes(data, worker.limits)
    return decode_image(data, worker.limits), hashlib.sha256(data).hexdigest()[:16]


def _fetched(worker: Worker, url: str, folder: str, most: int) -> Path:
    def told(size: int) -> None:
        worker.progress.fetching("the source", size, None)

    return worker.fetch(url, Path(folder), most, told)
