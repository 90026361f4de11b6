"""Files that clients send in pieces: each piece is added where the last one ended.

An upload is a folder with the bytes and a note of what was announced. All that is known of it is
on disk, so that every replica of a server, and the server after a restart, goes on with it: whoever
adds to one holds its lock, and whoever takes one renames its folder, which one can do only once.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from starlette.requests import ClientDisconnect

from stpe import strict_json
from stpe.serve.failures import BusyError, ConflictError, NotFoundError, TooLargeError
from stpe.serve.work import Work

_MOST = 256
_PIECE = 1 << 20  # bytes gathered before they are written
_ID = re.compile(r"[0-9a-f]{32}")
_NOTE = "announced.json"
_TAKEN = ".taken-"


@dataclass
class Upload:
    """One file as far as it had come when it was looked at. Its folder holds nothing else.

    Attributes:
        whole: whether the last piece came to its end.
    """

    id: str
    folder: Path
    total_bytes: int | None
    offset: int = 0
    whole: bool = False

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

    def note(self) -> None:
        """Write what the bytes themselves do not tell."""
        text = strict_json.dumps({"total_bytes": self.total_bytes, "whole": self.whole})
        fresh = self.folder / f"{_NOTE}.{uuid.uuid4().hex}"
        _write(fresh, text.encode())
        fresh.replace(self.folder / _NOTE)


class Uploads:
    """The uploads below one folder, of however many processes.

    Args:
        folder: they are put below it.
        max_bytes: of one.
        room_bytes: of all together.

    Attributes:
        in_use: whether a job reads an upload, which is then neither removed nor taken. Blocks.
    """

    def __init__(self, folder: Path, work: Work, max_bytes: int, room_bytes: int) -> None:
        self._folder = folder
        self._work = work
        self._max_bytes = max_bytes
        self._room = room_bytes
        self.in_use: Callable[[str], bool] = lambda upload_id: False

    def get(self, upload_id: str) -> Upload:
        """An upload as it is now. Raises NotFoundError."""
        folder = self._folder / upload_id
        try:
            if not _ID.fullmatch(upload_id):
                raise FileNotFoundError
            noted = json.loads((folder / _NOTE).read_text())
            size = (folder / "upload").stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            raise NotFoundError("there is no upload by that id; it may have expired") from None
        return Upload(upload_id, folder, noted["total_bytes"], size, noted["whole"])

    def complete(self, upload_id: str) -> Upload:
        """One that is complete. Raises NotFoundError, ConflictError."""
        upload = self.get(upload_id)
        if _busy(upload) or not upload.complete:
            raise ConflictError(f"the upload is not complete: it has {upload.offset} bytes")
        return upload

    def begin(self, total_bytes: int | None) -> Upload:
        """A new, empty upload. Raises TooLargeError, BusyError."""
        if total_bytes is not None and total_bytes > self._max_bytes:
            raise TooLargeError(f"an upload may have {self._max_bytes} bytes")
        if len(self._ids()) >= _MOST:
            raise BusyError("there are too many uploads; delete some or come back later", 60)
        identity = uuid.uuid4().hex
        upload = Upload(identity, self._folder / identity, total_bytes)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        upload.folder.mkdir(mode=0o700)
        _write(upload.path, b"")
        upload.note()
        return upload

    async def append(self, upload: Upload, offset: int, pieces: AsyncIterator[bytes]) -> None:
        """Add bytes at `offset`, which must be where the upload ends. What has arrived when the
        client leaves is kept. Raises ConflictError, TooLargeError, BusyError."""
        with _adding(upload) as file:
            upload.offset = os.fstat(file.fileno()).st_size
            if offset != upload.offset:
                raise ConflictError(f"the upload has {upload.offset} bytes; go on at that offset")
            upload.whole = False
            upload.note()
            gathered = bytearray()
            try:
                async for piece in pieces:
                    gathered += piece
                    if len(gathered) >= _PIECE:
                        await self._write(upload, file, gathered)
                upload.whole = True
            except ClientDisconnect:
                pass
            finally:
                await self._write(upload, file, gathered)
            if upload.whole:
                upload.note()

    async def _write(self, upload: Upload, file: IO[bytes], gathered: bytearray) -> None:
        if not gathered:
            return
        data = bytes(gathered)
        gathered.clear()
        end = upload.offset + len(data)
        if end > (upload.total_bytes or self._max_bytes) or end > self._max_bytes:
            raise TooLargeError(
                f"the upload would be larger than the {upload.total_bytes or self._max_bytes} bytes"
                " announced or allowed"
            )
        if await self._work.transfer(self.held_bytes) + len(data) > self._room:
            raise BusyError("the room for uploads is taken; go on later", 60)
        await self._work.transfer(_append, file, data)
        upload.offset = end

    def held_bytes(self) -> int:
        """Bytes of all uploads. Blocks."""
        sizes = 0
        for identity in self._ids():
            try:
                sizes += (self._folder / identity / "upload").stat().st_size
            except OSError:  # just taken or removed
                continue
        return sizes

    @contextmanager
    def taken(self, upload_id: str) -> Iterator[Path]:
        """The file of a complete upload, which is the caller's alone and goes in the end. Blocks.
        Raises NotFoundError, ConflictError."""
        upload = self.complete(upload_id)
        self._free(upload)
        with _adding(upload):
            mine = self._folder / f"{_TAKEN}{upload.id}"
            try:
                upload.folder.rename(mine)
            except FileNotFoundError:
                raise NotFoundError("there is no upload by that id; another took it") from None
            try:
                yield mine / "upload"
            finally:
                shutil.rmtree(mine, ignore_errors=True)

    def delete(self, upload: Upload) -> None:
        """Remove it. Blocks. Raises ConflictError while it is being added to or read by a job."""
        if _busy(upload):
            raise ConflictError("another request is adding to this upload")
        self._free(upload)
        shutil.rmtree(upload.folder, ignore_errors=True)

    def _free(self, upload: Upload) -> None:
        if self.in_use(upload.id):
            raise ConflictError("a job uses this upload; wait for its end or cancel it")

    def expire(self, idle_s: float) -> None:
        """Remove those unused for longer, and those that dead processes had taken. Blocks."""
        for left in self._folder.glob(f"{_TAKEN}*"):
            if not _busy(Upload("", left, None)):
                shutil.rmtree(left, ignore_errors=True)
        for identity in self._ids():
            try:
                upload = self.get(identity)
                idle = time.time() - upload.path.stat().st_mtime
            except (NotFoundError, OSError):
                continue
            if idle > idle_s and not _busy(upload) and not self.in_use(identity):
                shutil.rmtree(upload.folder, ignore_errors=True)

    def _ids(self) -> list[str]:
        try:
            return [path.name for path in self._folder.iterdir() if _ID.fullmatch(path.name)]
        except FileNotFoundError:
            return []


@contextmanager
def _adding(upload: Upload) -> Iterator[IO[bytes]]:
    """The file, to be written by nobody else. The lock goes with the process that holds it."""
    try:
        file = upload.path.open("r+b")
    except FileNotFoundError:
        raise NotFoundError("there is no upload by that id; it may have expired") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError("another request is adding to this upload") from None
        yield file


def _busy(upload: Upload) -> bool:
    try:
        with _adding(upload):
            return False
    except ConflictError:
        return True
    except NotFoundError:
        return False


def _append(file: IO[bytes], data: bytes) -> None:
    file.seek(0, os.SEEK_END)
    file.write(data)
    file.flush()


def _write(path: Path, data: bytes) -> None:
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(data)
