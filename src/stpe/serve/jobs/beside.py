"""Videos processed beside each other into one dataset, which one writer at a time may hold.

A job that runs beside others makes its artifacts in a folder of its own, and takes the dataset only
to bring them there and store its rows: then every artifact is found, and nothing is computed again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from stpe.dataset.layout import MANIFEST
from stpe.dataset.reader import open_dataset
from stpe.engine import Result
from stpe.pipeline.progress import Progress
from stpe.serve.jobs.media import Worker
from stpe.video.frame import SourceInfo

#: Seconds between two looks whether the job that waits for the dataset is to stop.
_LOOK_S = 0.2

Process = Callable[[Path, Progress], Result]


def into_dataset(worker: Worker, source: Path, process: Process) -> Result:
    """What `process` answers once the source is sealed in the worker's dataset.

    Args:
        worker: whose dataset, progress and staging folder.
        source: the file to process.
        process: processes it into a dataset, telling a progress.
    """
    staging = worker.staging
    if staging is None:
        with _turn(worker):
            return process(worker.dataset, worker.progress)
    _bring_what_is_known(worker.dataset, staging, source)
    process(staging, _Making(worker.progress))
    with _turn(worker):
        _bring(staging / "artifacts", worker.dataset / "artifacts", os.replace)
        result = process(worker.dataset, worker.progress)
    shutil.rmtree(staging, ignore_errors=True)
    return result


class _Making(Progress):
    """The work before the dataset is written: rows of the staging folder are not the end."""

    def __init__(self, watcher: Progress) -> None:
        self._watcher = watcher

    def fetching(self, what: str, done: int, total: int | None) -> None:
        self._watcher.fetching(what, done, total)

    def source(self, info: SourceInfo, stages: Mapping[str, float]) -> None:
        self._watcher.source(info, stages)

    def advance(self, stage: str, video_s: float, reused: bool) -> None:
        self._watcher.advance(stage, video_s, reused)

    def measured(self, duration_s: float) -> None:
        self._watcher.measured(duration_s)


@contextmanager
def _turn(worker: Worker) -> Iterator[None]:
    """The dataset to oneself, once the jobs before have stored their rows."""
    dataset = worker.dataset
    dataset.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = filelock.FileLock(dataset.with_name(f".{dataset.name}.turn"), mode=0o600)
    while True:
        try:
            lock.acquire(timeout=_LOOK_S)
            break
        except filelock.Timeout:
            worker.progress.fetching("its turn to store", 0, None)  # raises where it is to stop
    try:
        yield
    finally:
        lock.release()


def _bring_what_is_known(dataset: Path, staging: Path, source: Path) -> None:
    """Give a video that the dataset has already what was made of it: links, no copies."""
    if not source.is_file() or not (dataset / MANIFEST).exists():
        return
    with source.open("rb") as file:
        identity = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    if identity in open_dataset(dataset).videos:
        _bring(dataset / "artifacts", staging / "artifacts", os.link)


def _bring(origin: Path, target: Path, how: Callable[[Path, Path], object]) -> None:
    """Move or link every finished artifact that is not there yet."""
    for path in origin.rglob("*"):
        there = target / path.relative_to(origin)
        if path.is_file() and not path.name.startswith(".") and not there.exists():
            there.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileExistsError, FileNotFoundError):  # another was first
                how(path, there)
