"""Where a dataset keeps things, and the manifest that says which of them count.

DATASET/
  dataset.json          the manifest; replaced atomically, so a commit is one rename
  tables/<table>.lance  one Lance dataset a table
  media/<sha256><suffix> the original sources, by content hash
  plans/<plan key>.json  how the rows of the videos with that key were made
  artifacts/            outputs of stages, by content key (belongs to the pipeline)
  evaluation/           scorecards, <video_id>.json and .html (belongs to evaluate)
  search/               vectors of phrases, one file a text model (belongs to search)
  .lock                 held by the one writer
  .readers/             what readers hold open
"""

from __future__ import annotations

import json
import os
import re
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from stpe.errors import DatasetError, UsageError
from stpe.signals import TABLES, schema

#: Number of this layout. A reader refuses any other.
FORMAT = 1
MANIFEST = "dataset.json"
VIDEO_ID = pa.field(
    "video_id",
    pa.string(),
    metadata={"unit": "", "doc": "First 16 hex digits of the source's sha256", "null": ""},
)


@dataclass(frozen=True)
class Manifest:
    """What is in the dataset.

    Attributes:
        tables: Lance version of each table that has rows; versions past it do not count.
        videos: plan key of each sealed video, in the order of their rows.
    """

    tables: dict[str, int] = field(default_factory=dict)
    videos: dict[str, str] = field(default_factory=dict)

    def with_video(self, video_id: str, plan_key: str, tables: dict[str, int]) -> Manifest:
        """This manifest with that video sealed last and these table versions."""
        left = self.without_video(video_id, tables).videos
        return replace(self, tables=tables, videos={**left, video_id: plan_key})

    def without_video(self, video_id: str, tables: dict[str, int]) -> Manifest:
        """This manifest with one video less and these table versions."""
        left = {name: key for name, key in self.videos.items() if name != video_id}
        return replace(self, tables=tables, videos=left)


def local(path: str | Path) -> Path:
    """A path that results are written to. Raises UsageError for an address."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)):
        raise UsageError(
            f"{path} is an address: results are written to a local folder; copy it there afterwards"
        )
    return Path(path)


def table_path(root: Path, table: str) -> Path:
    """Folder of one Lance table."""
    return root / "tables" / f"{table}.lance"


def table_schema(table: str) -> pa.Schema:
    """Stored schema: `video_id`, then every signal of the table."""
    return pa.schema([VIDEO_ID, *schema(table)])


def plan_path(root: Path, plan_key: str) -> Path:
    """The note on how the rows of the videos with that plan key were made."""
    return root / "plans" / f"{plan_key}.json"


def read_plan(root: Path, plan_key: str) -> dict[str, Any] | None:
    """What was noted of a plan; None where nothing was, or it cannot be read."""
    try:
        found = json.loads(plan_path(root, plan_key).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def find_media(root: Path, sha256: str) -> Path | None:
    """The stored source with that hash, if it is there."""
    found = sorted((root / "media").glob(f"{sha256}*"))
    return found[0] if found else None


def read_manifest(root: Path) -> Manifest:
    """The manifest of the dataset at `root`.

    Raises:
        DatasetError: there is none, it is damaged, or it has another format number.
    """
    path = root / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        number = content["format"]
    except (FileNotFoundError, NotADirectoryError):
        raise DatasetError(
            f"{root} is not a dataset: it has no {MANIFEST}; make one with `stpe process`"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{path} cannot be read ({error}): restore it from a copy or process the sources again"
        ) from None
    if number != FORMAT:
        raise DatasetError(
            f"{root} has format {number} and this version reads {FORMAT}: use the stpe that made "
            "it, or process the sources again"
        )
    tables = {name: int(content["tables"][name]) for name in TABLES if name in content["tables"]}
    return Manifest(tables, dict(content["videos"]))


def write_manifest(root: Path, manifest: Manifest) -> None:
    """Replace the manifest atomically and durably."""
    content = {"format": FORMAT, "tables": manifest.tables, "videos": manifest.videos}
    write_atomically(
        root / MANIFEST, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()
    )


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader or a power cut sees the old one or the new one, whole. Who may
    read it is as for any file that the process makes."""
    temporary = path.parent / f".writing-{uuid.uuid4().hex}"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Make a file's content durable, or a folder's names and renames."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
