"""Files that clients send in pieces: each piece is added where the last one ended."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from starlette.requests import ClientDisconnect

from stpe.serve.failures import BusyError, ConflictError, NotFoundError, TooLargeError
from stpe.serve.work import Work

_MOST = 256
_PIECE = 1 << 20  # bytes gathered before they are written


@dataclass
class Upload:
    """One file as far as it has come. Its folder holds nothing else.

    Attributes:
        whole: whether the last piece came to its end.
    """

    id: str
    folder: Path
    total_bytes: int | None
    offset: int = 0
    busy: bool = False
    whole: bool = False
    used: float = field(default_factory=time.monotonic)

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / "upload"

    @property
    def complete(self) -> bool:
        """Whether all that was announced is here; all that was sent where nothing was."""
        if self.total_bytes is not None:
            return self.offset == self.total_bytes
        return self.offset > 0 and self.whole


class Uploads:
    """Uploads of one server, used from its event loop only.

    Args:
        folder: they are put below it.
        max_bytes: of one.
        room_bytes: of all together.
    """

    def __init__(self, folder: Path, work: Work, max_bytes: int, room_bytes: int) -> None:
        self._folder = folder
        self._work = work
        self._max_bytes = max_bytes
        self._room = room_bytes
        self._all: dict[str, Upload] = {}

    def get(self, upload_id: str) -> Upload:
        """Raises NotFoundError."""
        upload = self._all.get(upload_id)
        if upload is None:
            raise NotFoundError("there is no upload by that id; it may have expired")
        return upload

    def begin(self, total_bytes: int | None) -> Upload:
        """A new, empty upload. Raises TooLargeError, BusyError."""
        if total_bytes is not None and total_bytes > self._max_bytes:
            raise TooLargeError(f"an upload may have {self._max_bytes} bytes")
        if len(self._all) >= _MOST:
            raise BusyError("there are too many uploads; delete some or come back later", 60)
        upload = Upload(uuid.uuid4().hex, self._folder / uuid.uuid4().hex, total_bytes)
        upload.folder.mkdir(parents=True)
        upload.path.touch()
        self._all[upload.id] = upload
        return upload

    async def append(self, upload: Upload, offset: int, pieces: AsyncIterator[bytes]) -> None:
        """Add bytes at `offset`, which must be where the upload ends. What has arrived when the
        client leaves is kept. Raises ConflictError, TooLargeError, BusyError."""
        if upload.busy:
            raise ConflictError("another request is adding to this upload")
        if offset != upload.offset:
            raise ConflictError(f"the upload has {upload.offset} bytes; go on at that offset")
        upload.busy, upload.whole = True, False
        gathered = bytearray()
        try:
            async for piece in pieces:
                gathered += piece
                if len(gathered) >= _PIECE:
                    await self._write(upload, gathered)
            upload.whole = True
        except ClientDisconnect:
            pass
        finally:
            try:
                await self._write(upload, gathered)
            finally:
                upload.busy = False
                upload.used = time.monotonic()

    async def _write(self, upload: Upload, gathered: bytearray) -> None:
        if not gathered:
            return
        end = upload.offset + len(gathered)
        if end > (upload.total_bytes or self._max_bytes) or end > self._max_bytes:
            gathered.clear()
            raise TooLargeError(
                f"the upload would be larger than the {upload.total_bytes or self._max_bytes} bytes"
                " announced or allowed"
            )
        if sum(u.offset for u in self._all.values()) + len(gathered) > self._room:
            gathered.clear()
            raise BusyError("the room for uploads is taken; go on later", 60)
        data = bytes(gathered)
        gathered.clear()
        await self._work.transfer(_append, upload.path, upload.offset, data)
        upload.offset = end

    async def take(self, upload_id: str) -> Upload:
        """A complete upload, which is the caller's from now on. Raises NotFoundError,
        ConflictError."""
        upload = self.get(upload_id)
        if upload.busy or not upload.complete:
            raise ConflictError(f"the upload is not complete: it has {upload.offset} bytes")
        del self._all[upload_id]
        return upload

    async def delete(self, upload: Upload) -> None:
        """Remove it. Raises ConflictError while it is being added to."""
        if upload.busy:
            raise ConflictError("another request is adding to this upload")
        self._all.pop(upload.id, None)
        await self._work.transfer(shutil.rmtree, upload.folder, True)

    async def expire(self, idle_s: float) -> None:
        """Remove those unused for longer."""
        now = time.monotonic()
        for upload in list(self._all.values()):
            if not upload.busy and now - upload.used > idle_s:
                await self.delete(upload)


def _append(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)
