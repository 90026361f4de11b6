"""Where weights are kept on this machine, and what files hold, as a hash.

A model is known by what its weights are and not by where they lie. Hashing a large local folder
takes a while, so a hash is kept under `<cache>/hashes` for as long as the file's size, time and
inode are the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """The cache: `STPE_CACHE`, or `stpe` in the user's cache folder."""
    named = os.environ.get("STPE_CACHE")
    return Path(named).expanduser() if named else platformdirs.user_cache_path("stpe")


def sha256_of(path: Path) -> str:
    """sha256 of a file's content, read now."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stated_hash(path: Path) -> str | None:
    """The sha256 that a cache keeps a file under: our own, by folder; the hub's, by name."""
    for name in (path.resolve().name, path.parent.name):
        if re.fullmatch("[0-9a-f]{64}", name):
            return name
    return None


def content_of(path: Path) -> str:
    """sha256 of a file, or of a folder's files and their names; hidden files do not count.

    Read once: the next call knows the files that have not changed since.
    """
    if path.is_file():
        return _known(path)
    names = [
        file.relative_to(path)
        for file in sorted(path.rglob("*"))
        if file.is_file() and not any(p.startswith(".") for p in file.relative_to(path).parts)
    ]
    lines = [f"{name.as_posix()} {_known(path / name)}" for name in names]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _known(path: Path) -> str:
    stat = path.stat()
    place = hashlib.sha256(str(path.resolve()).encode()).hexdigest()
    note = cache_folder() / "hashes" / f"{place}.json"
    facts = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
    with contextlib.suppress(OSError, ValueError):
        kept = json.loads(note.read_text())
        if kept[:3] == facts:
            return str(kept[3])
    found = sha256_of(path)
    with contextlib.suppress(OSError):  # a cache that cannot be written only costs time
        note.parent.mkdir(parents=True, exist_ok=True)
        half = note.with_suffix(f".{os.getpid()}")
        half.write_text(json.dumps([*facts, found], allow_nan=False))
        half.replace(note)
    return found
