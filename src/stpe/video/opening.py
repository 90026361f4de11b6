"""`open_source`: from a path or an address to a source, recognised by content."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from stpe.errors import SourceError
from stpe.video.limits import Limits
from stpe.video.local import open_path
from stpe.video.remote import download, without_secrets
from stpe.video.source import Source
from stpe.video.temporary import TemporaryFolder, copying

_NO_LIMITS = Limits()
_REMOTE = ("http", "https", "s3")


def open_source(
    uri: str | Path, limits: Limits = _NO_LIMITS, image_fps: float | None = None
) -> Source:
    """Open a video file, folder of images, ZIP of frames and JSON, or http, https or s3 address.

    Args:
        uri: path or address. What it is, is told from the content.
        limits: what is refused, and whether it is decoded in a process of its own.
        image_fps: rate of images that carry no times; 30 if None.

    Raises SourceError if it cannot be read or holds no frame, and SourceLimitError if it is too
    large, before any frame is delivered.

    >>> with open_source("clip.mp4") as source:  # doctest: +SKIP
    ...     print(source.info.width, sum(1 for _ in source))
    """
    text = str(uri)
    scheme = urlsplit(text).scheme if "://" in text else ""
    said = without_secrets(text) if scheme else text
    said = said.encode("utf-8", "backslashreplace").decode()  # a name need not be UTF-8
    try:
        if scheme in _REMOTE:
            return _open_remote(text, said, limits, image_fps)
        if scheme not in ("", "file"):
            raise SourceError(f"{scheme}: is not read; give a file, http, https or s3 address")
        path = Path(unquote(urlsplit(text).path)) if scheme else Path(uri)
        return open_path(path, said, limits, image_fps)
    except SourceError as error:
        raise type(error)(f"{said}: {error}") from None


def _open_remote(url: str, said: str, limits: Limits, fps: float | None) -> Source:
    with copying():
        folder = TemporaryFolder()
    try:
        source = open_path(download(url, folder.path, limits), said, limits, fps)
    except BaseException:
        folder.close()
        raise
    source.removes(folder)
    return source
