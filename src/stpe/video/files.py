"""Named files of a folder or a ZIP archive, read one at a time."""

from __future__ import annotations

import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Protocol

from stpe.errors import SourceError, SourceLimitError
from stpe.video.limits import SMALL_BYTES, Limits

#: What zipfile raises on a damaged or unsupported member.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError)


class Files(Protocol):
    """Read access to files by name (relative, with forward slashes)."""

    @property
    def names(self) -> list[str]:
        """Every file's name, in natural order."""
        ...

    def read(self, name: str) -> bytes:
        """The whole content. Raises SourceError if it cannot be read."""
        ...

    def head(self, name: str) -> bytes:
        """The first 16 bytes, or fewer; empty if it cannot be read."""
        ...

    def close(self) -> None:
        """Release what is open."""
        ...


def natural(names: Iterable[str]) -> list[str]:
    """Sorted as a person would: `frame_2` before `frame_10`.

    >>> natural(["f10.png", "f2.png", "f1.png"])
    ['f1.png', 'f2.png', 'f10.png']
    """

    def key(name: str) -> tuple[list[tuple[int, int | str]], str]:
        parts = re.split(r"(\d+)", name)
        return [(0, int(p)) if p.isdecimal() else (1, p) for p in parts if p], name

    return sorted(names, key=key)


class FolderFiles:
    """Files of a folder and of the folders right below it; hidden ones are left out."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder = folder
        self._limits = limits
        found: list[str] = []
        size = 0
        for entry in self._entries():
            found.append(entry.relative_to(folder).as_posix())
            limits.check_entries(len(found))
            size += entry.stat().st_size
            limits.check_bytes(size)
        self.names = natural(found)

    def _entries(self) -> Iterable[Path]:
        try:
            for entry in os.scandir(self._folder):
                if entry.name.startswith("."):
                    continue
                if entry.is_file():
                    yield Path(entry.path)
                elif entry.is_dir(follow_symlinks=False):
                    for below in os.scandir(entry.path):
                        if below.is_file() and not below.name.startswith("."):
                            yield Path(below.path)
        except OSError as error:
            raise SourceError(f"cannot read the folder: {error.strerror}; check it") from None

    def read(self, name: str) -> bytes:
        """The whole content of a file."""
        path = self._folder / name
        try:
            self._limits.check_member(path.stat().st_size)
            return path.read_bytes()
        except OSError as error:
            raise SourceError(f"cannot read {name}: {error.strerror}; check it") from None

    def head(self, name: str) -> bytes:
        """The first bytes of a file."""
        try:
            with (self._folder / name).open("rb") as file:
                return file.read(16)
        except OSError:
            return b""

    def close(self) -> None:
        """Nothing is held open."""


class ZipFiles:
    """Files of a ZIP archive, which is checked for bombs and unsafe names before it is read."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._limits = limits
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
            raise SourceError(f"a damaged ZIP ({error}); pack the frames again") from None
        try:
            self._members = self._checked()
        except SourceError:
            self._zip.close()
            raise
        self.names = natural(self._members)

    def _checked(self) -> dict[str, zipfile.ZipInfo]:
        infos = self._zip.infolist()
        self._limits.check_entries(len(infos))
        members: dict[str, zipfile.ZipInfo] = {}
        total = 0
        for info in infos:
            _check_name(info.orig_filename)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.is_dir() or _is_hidden(info.filename):
                continue
            if kind not in (0, stat.S_IFREG):
                raise SourceError(f"the ZIP member {info.filename!r} is a link; pack plain files")
            if info.flag_bits & 1:
                raise SourceError("the ZIP is encrypted; pack it without a password")
            if info.filename in members:
                raise SourceError(f"the ZIP holds {info.filename!r} twice; pack it again")
            total += info.file_size
            self._limits.check_bytes(total)
            if info.file_size > max(SMALL_BYTES, self._limits.max_ratio * info.compress_size):
                raise SourceLimitError(
                    f"the ZIP member {info.filename!r} unpacks to more than "
                    f"{self._limits.max_ratio:g} times its size; pack the frames without it"
                )
            members[info.filename] = info
        return members

    def read(self, name: str) -> bytes:
        """The unpacked content of a member; never more bytes than the directory states."""
        info = self._members[name]
        self._limits.check_member(info.file_size)
        try:
            return self._zip.read(info)
        except _DAMAGE as error:
            raise SourceError(f"the ZIP member {name!r} is damaged ({error}); repack it") from None

    def head(self, name: str) -> bytes:
        """The first bytes of a member."""
        try:
            with self._zip.open(self._members[name]) as file:
                return file.read(16)
        except _DAMAGE:
            return b""

    def close(self) -> None:
        """Close the archive."""
        self._zip.close()


def _check_name(name: str) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in name or re.match(r"[A-Za-z]:", name):
        raise SourceError(f"the ZIP member {name!r} points outside the archive; do not trust it")


def _is_hidden(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)
