"""One stage's output for one chunk, kept in a file named by the hash of everything it depends on.

The file is a stored (not deflated) ZIP of Arrow IPC streams, one a table, whose buffers are
zstd-compressed, and a small JSON of facts that are not part of the key. The ZIP's checksums tell a
whole file from a damaged one; a damaged file counts as missing and is built again.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from stpe.errors import DatasetError

_STATE = "state"
_FACTS = "facts.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_COMPRESSED = pa.ipc.IpcWriteOptions(compression="zstd")


def content_key(facts: Mapping[str, Any]) -> str:
    """sha256 of the canonical JSON of `facts`."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Artifact:
    """Rows by table, the carried state of an ordered stage, and facts such as seconds spent."""

    tables: Mapping[str, pa.Table]
    state: pa.Table | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


class ArtifactStore:
    """Artifacts under one folder: `<first two digits>/<key>.arrow`. Safe from several threads."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, key: str) -> Path:
        """Where the artifact lies or would lie."""
        return self.root / key[:2] / f"{key}.arrow"

    def has(self, key: str) -> bool:
        """Whether the artifact is there and whole (every checksum is verified)."""
        try:
            with zipfile.ZipFile(self.path(key)) as archive:
                return archive.testzip() is None
        except (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error):
            return False

    def write(self, key: str, artifact: Artifact) -> None:
        """Store atomically: a reader sees the whole file or none.

        Raises:
            DatasetError: the folder cannot be written, for instance because the disk is full.
        """
        path = self.path(key)
        temporary: str | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
            with os.fdopen(handle, "wb") as file:
                with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                    for name, table in sorted(artifact.tables.items()):
                        _put(archive, f"{name}.arrow", table)
                    if artifact.state is not None:
                        _put(archive, f"{_STATE}.arrow", artifact.state)
                    facts = json.dumps(artifact.facts, sort_keys=True, allow_nan=False)
                    archive.writestr(zipfile.ZipInfo(_FACTS, _EPOCH), facts)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except OSError as error:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)
            raise DatasetError(
                f"cannot write {path}: {error.strerror or error}; "
                "free space or choose another --out, then run the same call again"
            ) from error

    def facts(self, key: str) -> dict[str, Any]:
        """What was noted beside the rows. Raises DatasetError as `table` does."""
        return dict(json.loads(self._entry(key, _FACTS)))

    def state(self, key: str) -> pa.Table | None:
        """The carried state, None where the stage returned none."""
        return self._table(key, _STATE, None)

    def table(self, key: str, table: str, columns: Iterable[str] | None = None) -> pa.Table | None:
        """One table of the artifact, or some of its columns; None where it has no such table.

        Raises:
            DatasetError: the file vanished or was damaged since `has` looked at it.
        """
        return self._table(key, table, columns)

    def _table(self, key: str, name: str, columns: Iterable[str] | None) -> pa.Table | None:
        data = self._entry(key, f"{name}.arrow", missing_ok=True)
        if data is None:
            return None
        schema = pa.ipc.open_stream(data).schema
        options = pa.ipc.IpcReadOptions()
        if columns is not None:
            wanted = set(columns)
            options.included_fields = [i for i, n in enumerate(schema.names) if n in wanted]
        return pa.ipc.open_stream(data, options=options).read_all()

    def _entry(self, key: str, name: str, missing_ok: bool = False) -> Any:
        try:
            with zipfile.ZipFile(self.path(key)) as archive:
                if missing_ok and name not in archive.namelist():
                    return None
                return archive.read(name)
        except (OSError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise DatasetError(
                f"artifact {key[:12]} was removed or damaged during the run: run again"
            ) from error


def _put(archive: zipfile.ZipFile, name: str, table: pa.Table) -> None:
    with (
        archive.open(zipfile.ZipInfo(name, _EPOCH), "w", force_zip64=True) as file,
        pa.ipc.new_stream(file, table.schema, options=_COMPRESSED) as stream,
    ):
        stream.write_table(table.combine_chunks())
