"""A folder of images, and the one ZIP that stands for it in a dataset."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from stpe.video.files import Files, FolderFiles
from stpe.video.images import ImageSource
from stpe.video.limits import Limits
from stpe.video.temporary import TemporaryFolder, copying


class FolderSource(ImageSource):
    """Images of a folder. Its hash is that of the ZIP that `media` packs."""

    def __init__(self, folder: Path, uri: str, limits: Limits, fps: float | None) -> None:
        """Raises SourceError if the folder holds no image sequence."""
        super().__init__(FolderFiles(folder, limits), uri, "folder", limits, fps)
        digest = hashlib.sha256()
        _pack(self._files, self.used, _Sink(digest.update))
        self.info.sha256 = digest.hexdigest()
        self._packed: Path | None = None

    @property
    def media(self) -> Path:
        """A ZIP, stored, of the images, records and times; packed when first asked for."""
        if self._packed is None:
            with copying():
                folder = TemporaryFolder()
                self.removes(folder)
                path = folder.path / f"{self.info.sha256}.zip"
                with path.open("wb") as file:
                    _pack(self._files, self.used, _Sink(file.write))
            self._packed = path
        return self._packed


class _Sink(io.RawIOBase):
    """A write-only stream without positions, so that packing always writes the same bytes."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        super().__init__()
        self._write = write

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        block = bytes(data)
        self._write(block)
        return len(block)


def _pack(files: Files, names: Iterable[str], sink: _Sink) -> None:
    """Write a ZIP that depends on names and contents only."""
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as packed:
        for name in sorted(names):
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system = 3
            info.external_attr = 0o100644 << 16
            packed.writestr(info, files.read(name))
