"""Freeing what a dataset no longer needs: artifacts, which only spare work, and media that no video
has any more."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from stpe.dataset.media import unused_media
from stpe.dataset.writer import DatasetWriter


@dataclass(frozen=True)
class Freed:
    """What a call took away: files, and their size in bytes."""

    files: int
    bytes: int


def prune(writer: DatasetWriter) -> Freed:
    """Remove all artifacts, and media and state logs that no video has any more.

    Every row stays. A later call with another model or option makes anew what it could have
    reused; the same call still does nothing.
    """
    unused = unused_media(writer.stored)
    files = [path for path in (writer.path / "artifacts").rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in [*files, *unused])
    shutil.rmtree(writer.path / "artifacts", ignore_errors=True)
    for path in unused:
        path.unlink(missing_ok=True)
    return Freed(len(files) + len(unused), size)
