"""A ZIP of frames and JSON."""

from __future__ import annotations

from pathlib import Path

from stpe.video.files import ZipFiles
from stpe.video.images import ImageSource
from stpe.video.limits import Limits
from stpe.video.source import sha256_of


class ArchiveSource(ImageSource):
    """Frames of a ZIP archive, each with its state record, read without unpacking to disk."""

    def __init__(self, path: Path, uri: str, limits: Limits, fps: float | None) -> None:
        """Raises SourceError or SourceLimitError before anything is unpacked."""
        self._path = path.resolve()
        limits.check_bytes(path.stat().st_size)
        files = ZipFiles(self._path, limits)
        try:
            super().__init__(files, uri, "archive", limits, fps)
        except BaseException:
            files.close()
            raise
        self.info.sha256 = sha256_of(self._path)

    @property
    def media(self) -> Path:
        """The archive itself."""
        return self._path


def is_archive(path: Path) -> bool:
    """Whether the file begins as a ZIP does."""
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
