"""Freeing what a dataset no longer needs: artifacts are only there to spare work."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from stpe.dataset.writer import DatasetWriter
from stpe.errors import UsageError


@dataclass(frozen=True)
class Freed:
    """What a call took away: files, and their size in bytes."""

    files: int
    bytes: int


def prune(writer: DatasetWriter) -> Freed:
    """Remove all artifacts.

    Every row stays. A later call with another model or option makes anew what it could have
    reused; the same call still does nothing.
    """
    files = [path for path in (writer.path / "artifacts").rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    shutil.rmtree(writer.path / "artifacts", ignore_errors=True)
    return Freed(len(files), size)


def named(writer: DatasetWriter, given: str) -> str:
    """The video whose id is given or begins so. Raises UsageError where none or several do."""
    found = [video_id for video_id in writer.videos if video_id.startswith(given)]
    if len(found) == 1:
        return found[0]
    what = "several videos begin" if found else "no video begins"
    raise UsageError(f"{what} with {given!r} in {writer.path}: `stpe ls` lists them")
