"""`open_source`: from a path or an address to a source, recognised by content."""

from __future__ import annotations

import stat
from pathlib import Path

from stpe.errors import SourceError
from stpe.video.container import ContainerSource
from stpe.video.limits import Limits
from stpe.video.source import Source

_NO_LIMITS = Limits()


def open_source(uri: str | Path, limits: Limits = _NO_LIMITS) -> Source:
    """Open a video file.

    Raises SourceError if it cannot be read and SourceLimitError if it is too large, before any
    frame is delivered.
    """
    path = Path(uri)
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}; check the path") from None
    if not stat.S_ISREG(mode):
        raise SourceError(f"{path} is not a file; give a video file")
    return ContainerSource(path, str(uri), limits)
