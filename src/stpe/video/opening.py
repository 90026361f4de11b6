"""`open_source`: from a path or an address to a source, recognised by content."""

from __future__ import annotations

import shutil
import stat
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

from stpe.errors import SourceError
from stpe.video.archive import ArchiveSource, is_archive
from stpe.video.container import ContainerSource
from stpe.video.folder import FolderSource
from stpe.video.limits import Limits
from stpe.video.remote import download, without_secrets
from stpe.video.source import Source

_NO_LIMITS = Limits()
_REMOTE = ("http", "https", "s3")


def open_source(
    uri: str | Path, limits: Limits = _NO_LIMITS, image_fps: float | None = None
) -> Source:
    """Open a video file, folder of images, ZIP of frames and JSON, or http, https or s3 address.

    Args:
        uri: path or address. What it is, is told from the content.
        limits: what is refused.
        image_fps: rate of images that carry no times; 30 if None.

    Raises SourceError if it cannot be read or holds no frame, and SourceLimitError if it is too
    large, before any frame is delivered.

    >>> with open_source("clip.mp4") as source:  # doctest: +SKIP
    ...     print(source.info.width, sum(1 for _ in source))
    """
    text = str(uri)
    scheme = urlsplit(text).scheme if "://" in text else ""
    if scheme in _REMOTE:
        return _open_remote(text, limits, image_fps)
    if scheme == "file":
        return _open_path(Path(unquote(urlsplit(text).path)), text, limits, image_fps)
    if scheme:
        raise SourceError(f"{scheme}:// addresses are not read; give a file, http or s3 address")
    return _open_path(Path(uri), text, limits, image_fps)


def _open_path(path: Path, uri: str, limits: Limits, fps: float | None) -> Source:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return FolderSource(path, uri, limits, fps)
        if not stat.S_ISREG(mode):
            raise SourceError(f"{path} is not a plain file; give a video file or a folder")
        if is_archive(path):
            return ArchiveSource(path, uri, limits, fps)
        return ContainerSource(path, uri, limits)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SourceError(f"cannot read {path}: {reason}; check the path") from None


def _open_remote(url: str, limits: Limits, fps: float | None) -> Source:
    folder = Path(tempfile.mkdtemp(prefix="stpe-"))
    try:
        source = _open_path(download(url, folder, limits), without_secrets(url), limits, fps)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    source.removes(folder)
    return source
