"""Folders that belong to living processes, and what dead ones left."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Name of the file in a folder that its owners hold locked as long as they live.
_OWNED = ".owned"
#: Seconds in which a new folder gets its owner.
_NEW_S = 60.0
PREFIX = "stpe-serve-"


@contextmanager
def work_folder() -> Iterator[Path]:
    """A new folder for temporary files of this process, readable by its user alone; removed at the
    end. Those that killed processes left are removed first."""
    sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as text:
        folder = Path(text)
        with (folder / _OWNED).open("wb") as owned:
            fcntl.flock(owned, fcntl.LOCK_SH)
            yield folder


def sweep(place: Path) -> None:
    """Remove the work folders in `place` whose processes are gone."""
    for folder in place.glob(f"{PREFIX}*"):
        with suppress(OSError):  # somebody else's, or just removed
            if time.time() - folder.stat().st_mtime > _NEW_S and not _owned(folder):
                shutil.rmtree(folder)


def _owned(folder: Path) -> bool:
    try:
        with (folder / _OWNED).open("r+b") as owned:
            fcntl.flock(owned, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
