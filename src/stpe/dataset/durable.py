"""Files that survive a power cut, and what is said where they cannot be written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from stpe.dataset.layout import sync
from stpe.errors import DatasetError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what Lance and the disk raise inside into a DatasetError."""
    try:
        yield
    except (OSError, ValueError, pa.ArrowException) as error:
        raise unwritten(path, error) from error


def unwritten(path: Path, error: Exception) -> DatasetError:
    """What to say where `path` could not be written."""
    reason = getattr(error, "strerror", None) or error
    return DatasetError(
        f"cannot write {path}: {reason}; free space or make it writable, then run the same call "
        "again"
    )


def copy_file(source: Path, target: Path) -> str:
    """Copy a file durably; gives the sha256 of what was copied."""
    digest = hashlib.sha256()
    with source.open("rb") as original, target.open("wb") as copy:
        while block := original.read(1 << 20):
            digest.update(block)
            copy.write(block)
    sync(target)
    return digest.hexdigest()


def sync_tree(root: Path, since: float) -> None:
    """Make the files written under `root` since that time durable, and their names."""
    for folder, _, names in os.walk(root):
        fresh = [Path(folder, n) for n in names]
        fresh = [p for p in fresh if p.stat().st_mtime >= since - 1]
        for path in fresh:
            sync(path)
        if fresh:
            sync(Path(folder))
