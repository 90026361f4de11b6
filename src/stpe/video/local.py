"""From a path of this machine to a source, recognised by content."""

from __future__ import annotations

import stat
from pathlib import Path

from stpe.errors import SourceError
from stpe.video.archive import ArchiveSource, is_archive
from stpe.video.container import ContainerSource
from stpe.video.folder import FolderSource
from stpe.video.limits import Limits
from stpe.video.single import PictureSource, WebpAnimation, picture_kind
from stpe.video.source import Source


def open_path(path: Path, uri: str, limits: Limits, fps: float | None) -> Source:
    """Open a video file, a folder of images, or a ZIP of frames and JSON; `limits.isolated` in a
    process of its own. Raises as `open_source`, without the path."""
    if limits.isolated:
        from stpe.video.isolated.source import IsolatedSource

        return IsolatedSource(path, uri, limits, fps)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return FolderSource(path, uri, limits, fps)
        if not stat.S_ISREG(mode):
            raise SourceError("not a plain file; give a video file or a folder of images")
        if is_archive(path):
            return ArchiveSource(path, uri, limits, fps)
        kind = picture_kind(path)
        if kind == "picture":
            return PictureSource(path, uri, limits)
        return WebpAnimation(path, uri, limits) if kind else ContainerSource(path, uri, limits)
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "strerror", None) or error).lower()
        raise SourceError(f"cannot be read, {reason}; check the path") from None
