"""Opens a log of any known format, recognised by its content."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from stpe.errors import SourceError
from stpe.state.json_log import read_files, read_json, read_lines
from stpe.state.log import StateLog
from stpe.state.mcap_log import read_mcap
from stpe.state.table_log import read_csv, read_parquet
from stpe.state.text import MOST_BYTES, as_utf8, unpacked
from stpe.video.files import Files, FolderFiles, ZipFiles
from stpe.video.limits import Limits


@dataclass(frozen=True, slots=True)
class StateFile:
    """A log on disk that was found readable; what depends on it depends on `sha256` alone."""

    path: str
    sha256: str

    @classmethod
    def of(cls, path: Path | str) -> StateFile:
        """Raises what `read_log` raises."""
        return cls(str(path), read_log(path).sha256)

    def read(self) -> StateLog:
        """The log. Raises SourceError if it is no longer the one that was found."""
        log = read_log(self.path)
        if log.sha256 != self.sha256:
            raise SourceError(f"the log {self.path} changed meanwhile; run the same call again")
        return log


def read_log(path: Path | str) -> StateLog:
    """The log at `path`: JSON, JSONL, CSV, Parquet, MCAP, or a folder or ZIP of JSON files.

    Raises:
        SourceError: it is not there, of no known format, damaged or empty; the message says which.
        MissingExtraError: its format needs an optional package.
    """
    path = Path(path)
    if path.is_dir():
        return _from_files(FolderFiles(path, Limits()), path.name)
    raw = _content(path)
    sha256 = hashlib.sha256(raw).hexdigest()
    data, packed = unpacked(raw, path.name)
    if packed is not None and data[:4] == b"PK\x03\x04":
        raise SourceError(f"{path.name} is a packed ZIP; unpack it once")
    log, written = _recognised(path, data, sha256)
    said = [sentence for sentence in (packed, written) if sentence is not None]
    return replace(log, repairs=(*said, *log.repairs))


def _recognised(path: Path, data: bytes, sha256: str) -> tuple[StateLog, str | None]:
    """The log, and a sentence where its text is in another encoding."""
    head = data[:16]
    if head.startswith(b"PK\x03\x04"):
        return _from_files(ZipFiles(path, Limits()), path.name), None
    if head.startswith(b"PAR1"):
        return read_parquet(data, path.name, sha256), None
    if head.startswith(b"\x89MCAP0\r\n"):
        return read_mcap(data, path.name, sha256), None
    text, written = as_utf8(data, path.name)
    text = text.lstrip(b" \t\r\n")
    if not text:
        raise SourceError(f"{path.name} is empty; give the log that was written beside the video")
    if text[:1] == b"[":
        return read_json(text, path.name, sha256), written
    if text[:1] == b"{":
        return _lines_or_document(text, path.name, sha256), written
    return read_csv(text, path.name, sha256), written


def _lines_or_document(text: bytes, name: str, sha256: str) -> StateLog:
    """An object on its first line is the first of many; anything else is one document."""
    first, _, rest = text.partition(b"\n")
    if first.rstrip().endswith(b"}") and rest.lstrip()[:1] == b"{":
        return read_lines(text, name, sha256)
    if not rest.strip() and not any(key in first[:4096] for key in (b'"frames"', b'"rows"')):
        return read_json(text, name, sha256)
    try:
        return read_json(text, name, sha256)
    except SourceError:
        if rest.lstrip()[:1] == b"{":
            return read_lines(text, name, sha256)
        raise


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise SourceError(f"{path.name} is over {MOST_BYTES >> 30} GiB; give a shorter log")
        return path.read_bytes()
    except OSError as error:
        raise SourceError(f"cannot read the log {path}: {error.strerror}; check the path") from None


def _from_files(files: Files, name: str) -> StateLog:
    try:
        digest = hashlib.sha256()
        for file in files.names:
            if file.lower().endswith(".json"):
                digest.update(f"{file}\0".encode())
                digest.update(hashlib.sha256(files.read(file)).digest())
        return read_files(files, name, digest.hexdigest())
    finally:
        files.close()
