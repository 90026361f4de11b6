"""Temporary folders that go when their process does, however it ends.

A folder `stpe-<token>` has a file `stpe-<token>.lock` beside it that its process holds locked. The
system lets go of the lock where the process is killed, and the next run removes such a folder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from stpe.errors import SourceError

_PREFIX = "stpe-"


class TemporaryFolder:
    """A folder of this process alone, removed when it is closed or dropped, or the process ends.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self) -> None:
        root = Path(tempfile.gettempdir())
        root.stat()  # a lock would make the folder where there is none
        name = f"{_PREFIX}{uuid.uuid4().hex[:16]}"
        lock = filelock.FileLock(root / f"{name}.lock", thread_local=False)
        lock.acquire(timeout=0)
        self.path = root / name
        try:
            self.path.mkdir(mode=0o700)
        except OSError:
            _forget(lock, self.path)
            raise
        self._remove = weakref.finalize(self, _forget, lock, self.path)

    def close(self) -> None:
        """Remove it and all that is in it."""
        self._remove()

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.close()


def sweep() -> None:
    """Remove the folders of processes that were killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*.lock"):
        try:
            if path.stat().st_uid != os.getuid():
                continue
            lock = filelock.FileLock(path, thread_local=False)
            lock.acquire(timeout=0)
        except (filelock.Timeout, OSError):
            continue
        _forget(lock, path.with_suffix(""))


def _forget(lock: filelock.BaseFileLock, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


@contextmanager
def copying() -> Iterator[None]:
    """Write a temporary copy of a source. An OSError inside becomes a SourceError that says where
    there is no room and what to do."""
    try:
        yield
    except OSError as error:
        place = tempfile.tempdir or "any folder for temporary files"
        raise SourceError(
            f"cannot be copied into {place}: {error.strerror or error}; free space there or name "
            "another folder in TMPDIR"
        ) from error
