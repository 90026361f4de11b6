"""Weights of the model hub: a repository's safetensors and settings, or one named file of it.

Everything goes through huggingface_hub: its cache (`HF_HUB_CACHE`) and its token (`HF_TOKEN`, or
the one that `hf auth login` stored). `HF_ENDPOINT` and `HF_HUB_OFFLINE` are honoured as they are
at the time of the call. Large files are brought into that cache by ourselves: huggingface_hub
begins a file anew where its process was stopped, and does not look at its hash.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock

from stpe.errors import ModelError
from stpe.models.catalog import HubSource
from stpe.models.content import sha256_of, stated_hash
from stpe.models.packages import Progress
from stpe.models.urls import download

#: What a repository's snapshot may hold: never a pickle.
PATTERNS = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "LICENSE*", "NOTICE*")

_WAIT_S = 20.0
_LARGE = 1 << 20  # bytes above which a file is brought here by ourselves


def offline() -> bool:
    """Whether `HF_HUB_OFFLINE` forbids the network."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() not in ("", "0", "false", "no", "off")


def cached(source: HubSource) -> Path | None:
    """The file, or the folder of a whole snapshot, where it is on this machine."""
    import huggingface_hub as hub
    from huggingface_hub.errors import HFValidationError

    where = _cache()
    if source.file is not None:
        path = hub.try_to_load_from_cache(
            source.hub, source.file, revision=source.revision, cache_dir=where
        )
        return Path(path) if isinstance(path, str) else None
    try:
        folder = Path(
            hub.snapshot_download(
                source.hub,
                revision=source.revision,
                allow_patterns=list(PATTERNS),
                local_files_only=True,
                cache_dir=where,
            )
        )
    except (OSError, HFValidationError):
        return None
    return folder if any(folder.glob("*.safetensors")) else None


def pinned(source: HubSource) -> HubSource:
    """The source with the commit that is here in place of a branch, so that results can be known
    by it; unchanged where nothing is here."""
    path = cached(source)
    if path is None:
        return source
    parts = path.parts
    commit = parts[len(parts) - parts[::-1].index("snapshots")]
    return source.model_copy(update={"revision": commit})


def size(source: HubSource) -> int:
    """Bytes that are still to be downloaded. Raises ModelError: the hub does not say."""
    with _explained(source):
        return sum(file.file_size or 0 for file in _listed(source) if file.will_download)


def fetch(source: HubSource, expected: str | None, progress: Progress) -> None:
    """Download what is not here, resuming what was begun, and check it.

    Args:
        source: what to download.
        expected: sha256 of the one file, where the catalog knows it.
        progress: told (repository, bytes done, bytes in all).

    Raises:
        ModelError: it cannot be had; the message says why and what to do.
    """
    import huggingface_hub as hub
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if offline():
        raise ModelError(f"{source.hub} is not on this machine and HF_HUB_OFFLINE is set")
    with _explained(source):
        files = [file for file in _listed(source) if file.will_download]
        total = sum(file.file_size or 0 for file in files)
        _room(total)
        progress(source.hub, 0, total)
        done = 0
        for file in files:
            if (file.file_size or 0) >= _LARGE:
                _large(source, file, partial(_tell, progress, source.hub, done, total))
                done += file.file_size
        settings: dict[str, Any] = {
            "revision": source.revision,
            "cache_dir": _cache(),
            "endpoint": _endpoint(),
        }
        disable_progress_bars()  # ours are drawn elsewhere
        if source.file is not None:
            path = Path(hub.hf_hub_download(source.hub, source.file, **settings))
            found = [path]
        else:
            path = Path(
                hub.snapshot_download(source.hub, allow_patterns=list(PATTERNS), **settings)
            )
            found = [path / f.filename for f in files if (f.file_size or 0) < _LARGE]
            if not any(path.glob("*.safetensors")):
                raise ModelError(
                    f"{source.hub} has no safetensors; weights that are pickles are never loaded"
                )
    for small in found:
        _check(source, small.name, small, expected or stated_hash(small))
    progress(source.hub, total, total)


def _large(source: HubSource, file: Any, progress: Callable[[int, int | None], None]) -> None:
    """Bring a large file into the hub's cache, where it is known by its hash."""
    import huggingface_hub as hub
    from huggingface_hub.file_download import get_hf_file_metadata, repo_folder_name

    url = hub.hf_hub_url(source.hub, file.filename, revision=file.commit_hash, endpoint=_endpoint())
    etag = get_hf_file_metadata(url).etag
    if etag is None:
        return
    blobs = Path(_cache()) / repo_folder_name(repo_id=source.hub, repo_type="model") / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    blob, part = blobs / etag, blobs / f"{etag}.stpe.incomplete"
    with FileLock(f"{part}.lock"):
        if not blob.exists():
            token = hub.get_token()
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            download(url, part, progress, headers)
            _check(source, file.filename, part, stated_hash(blob))
            part.replace(blob)


def _tell(progress: Progress, what: str, before: int, total: int, done: int, _: int | None) -> None:
    progress(what, before + done, total)


def _check(source: HubSource, name: str, file: Path, expected: str | None) -> None:
    """Compare with the catalog's hash, or the hub's: large files are stored under theirs."""
    blob = file.resolve()
    if expected is not None and sha256_of(blob) != expected:
        blob.unlink()  # not left where the next call would trust it
        file.unlink(missing_ok=True)
        raise ModelError(
            f"{source.hub}/{name} was damaged on its way: it does not have the hash that is "
            "stated for it; it was removed, run the same command again"
        )


def _listed(source: HubSource) -> list[Any]:
    import huggingface_hub as hub
    from huggingface_hub.utils.tqdm import disable_progress_bars

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # what goes wrong is raised
    # Fails at once where the hub is out of reach; what follows would try five times.
    api = hub.HfApi(endpoint=_endpoint())
    api.repo_info(source.hub, revision=source.revision, timeout=_WAIT_S)
    where: dict[str, Any] = {
        "revision": source.revision,
        "cache_dir": _cache(),
        "endpoint": _endpoint(),
        "dry_run": True,
    }
    if source.file is not None:
        return [hub.hf_hub_download(source.hub, source.file, **where)]
    disable_progress_bars()
    return list(hub.snapshot_download(source.hub, allow_patterns=list(PATTERNS), **where))


def _room(needed: int) -> None:
    folder = Path(_cache())
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ModelError(
            f"{needed / 1e6:,.0f} MB do not fit: the disk of {folder} has {free / 1e6:,.0f} MB "
            "left; free some space or set HF_HUB_CACHE to another disk"
        )


@contextlib.contextmanager
def _explained(source: HubSource) -> Iterator[None]:
    """The hub's errors as one sentence each."""
    from huggingface_hub import errors, get_token

    token = get_token()
    login = "set HF_TOKEN or run `hf auth login`"
    try:
        yield
    except errors.GatedRepoError as error:
        page = f"{_endpoint() or 'https://huggingface.co'}/{source.hub}"
        if token is None:
            why = f"accept its terms at {page}, then {login}"
        elif _status(error) == 401:
            why = f"the hub does not accept the token; {login} with one that is valid"
        else:
            why = f"the account of the token has no access: accept its terms at {page}"
        raise ModelError(f"{source.hub} is gated: {why}") from error
    except errors.RevisionNotFoundError as error:
        raise ModelError(
            f"{source.hub} has no revision {source.revision!r} on the hub; correct it in the "
            "catalog, or use `main`"
        ) from error
    except errors.RepositoryNotFoundError as error:
        why = f"it may be private: {login}"
        if token is not None:
            why = f"or the hub does not accept the token; {login} with one that is valid"
        raise ModelError(f"the hub shows no repository {source.hub}; {why}") from error
    except errors.RemoteEntryNotFoundError as error:
        what = source.file or "one of the files that it lists"
        raise ModelError(f"{source.hub} does not have {what} on the hub") from error
    except errors.LocalEntryNotFoundError as error:
        raise _unreachable(source, error) from error
    except errors.HfHubHTTPError as error:
        if _status(error) in (401, 403):
            raise ModelError(f"the hub does not accept the token; {login}") from error
        raise ModelError(f"{source.hub} cannot be downloaded: {_first(error)}") from error
    except Exception as error:
        if isinstance(error, ModelError):
            raise
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise ModelError(
                f"the disk of {_cache()} is full; free some space or set HF_HUB_CACHE to another "
                "disk, and run the same command again: it goes on from where it was"
            ) from error
        cause = error.__cause__
        if cause is not None and isinstance(error, errors.DryRunError):
            with _explained(source):
                raise cause from None
        if isinstance(error, (OSError, ValueError)) or "httpx" in type(error).__module__:
            raise _unreachable(source, error) from error
        raise


def _unreachable(source: HubSource, error: BaseException) -> ModelError:
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return ModelError(
        f"{source.hub} cannot be downloaded ({_first(cause)}); run the same command again when the "
        "hub can be reached: it goes on from where it was"
    )


def _status(error: Any) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _first(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _cache() -> str:
    from huggingface_hub import constants

    return os.environ.get("HF_HUB_CACHE") or constants.HF_HUB_CACHE


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None
