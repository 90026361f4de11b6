"""Reading single members out of wheels and source archives."""

from __future__ import annotations

import contextlib
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

from stpe.errors import ModelError


def extract(archive: Path, wanted: Mapping[str, tuple[Path, int]]) -> set[str]:
    """Read members of a zip or tar archive.

    Args:
        archive: a wheel, zip or tar of any compression.
        wanted: member path, without the leading folder of source archives, to (where to write it,
            most bytes it may have).

    Returns:
        The members that were there. Links and folders are never followed or made.
    """
    got: set[str] = set()
    try:
        with contextlib.ExitStack() as stack:
            for name, size, open_member in _members(archive, stack):
                member = _match(name, wanted)
                if member is None or member in got:
                    continue
                target, limit = wanted[member]
                if size > limit:
                    raise ModelError(f"{archive.name}: {name} is larger than it should be")
                with open_member() as source, target.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
                got.add(member)
                if len(got) == len(wanted):
                    break
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError) as error:
        raise ModelError(f"{archive.name} is a damaged archive: {error}") from error
    return got


def _match(name: str, wanted: Mapping[str, Any]) -> str | None:
    if name in wanted:
        return name
    return next((m for m in wanted if name.endswith(f"/{m}")), None)


def _members(
    archive: Path, stack: contextlib.ExitStack
) -> Iterator[tuple[str, int, Callable[[], IO[bytes]]]]:
    if zipfile.is_zipfile(archive):
        packed = stack.enter_context(zipfile.ZipFile(archive))
        for info in packed.infolist():
            yield info.filename, info.file_size, lambda i=info: packed.open(i)  # type: ignore[misc]
        return
    tar = stack.enter_context(tarfile.open(archive))  # noqa: SIM115
    for entry in tar:
        if entry.isfile():
            opener = lambda e=entry: cast(IO[bytes], tar.extractfile(e))  # noqa: E731
            yield entry.name, entry.size, opener
