"""Which versions of the tables somebody still reads, so that a writer does not delete their files.

A reader holds a lock on `.readers/<token>.lock` and names its versions in `.readers/<token>.json`.
The system lets go of the lock where the process ends, however it ends. Where a dataset cannot be
written, its readers hold nothing: what they opened stays for an hour after it was replaced.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
import weakref
from collections.abc import Mapping
from pathlib import Path

import filelock

_FOLDER = ".readers"


class Lease:
    """Holds versions from when it is made until it is dropped. Picklable: a copy holds them too."""

    def __init__(self, root: Path) -> None:
        """Hold everything there is, until `names` says what."""
        self._root = root
        self._versions: dict[str, int] = {}
        self._path: Path | None = None
        folder = root / _FOLDER
        path = folder / f"{uuid.uuid4().hex}.lock"
        lock = filelock.FileLock(path, thread_local=False)
        try:
            folder.mkdir(exist_ok=True)
            lock.acquire(timeout=0)
        except (OSError, filelock.Timeout, NotImplementedError):
            return
        self._path = path
        weakref.finalize(self, _let_go, lock, path, os.getpid())

    def names(self, versions: Mapping[str, int]) -> Lease:
        """Hold these versions of the tables alone."""
        self._versions = dict(versions)
        if self._path is not None:
            with contextlib.suppress(OSError):
                text = json.dumps(self._versions, allow_nan=False)
                self._path.with_suffix(".json").write_text(text, encoding="utf-8")
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return _again, (self._root, self._versions)


def _again(root: Path, versions: Mapping[str, int]) -> Lease:
    return Lease(root).names(versions)


def held(root: Path) -> dict[str, set[int]] | None:
    """Versions by table that readers hold; None where one of them has not said yet which. What
    readers left that are gone is removed."""
    found: dict[str, set[int]] = {}
    for path in (root / _FOLDER).glob("*.lock"):
        lock = filelock.FileLock(path, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            try:
                named = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            except (OSError, ValueError):
                return None
            for table, version in named.items():
                found.setdefault(table, set()).add(version)
        except OSError:
            return None
        else:
            _let_go(lock, path, os.getpid())
    return found


def _let_go(lock: filelock.BaseFileLock, path: Path, pid: int) -> None:
    if os.getpid() != pid:  # a fork's copy: the lock is its parent's
        return
    with contextlib.suppress(OSError):
        path.with_suffix(".json").unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        lock.release()
