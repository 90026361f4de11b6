"""Files of the server that clients may name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from stpe.serve.failures import ForbiddenError, NotFoundError


def inside(path: str, roots: Sequence[Path]) -> Path:
    """The real path of an existing file or folder below one of `roots`, symlinks resolved.

    A relative path is looked for below each root in turn.

    Raises:
        ForbiddenError: it leads elsewhere, as does a link to a file in a folder or right below, or
            no root is configured. Whether something is there is not told.
        NotFoundError: nothing is there.
    """
    if not roots:
        raise ForbiddenError(
            "this server reads no paths; set STPE_SERVE_MEDIA_ROOTS, upload the file or give a URL"
        )
    inside_a_root = False
    for root in roots:
        try:
            real_root = root.resolve()
            real = (real_root / path).resolve()
            if not real.is_relative_to(real_root):
                continue
            inside_a_root = True
            if real.exists():
                if real.is_dir() and not all(
                    link.resolve().is_relative_to(real_root) for link in _links(real)
                ):
                    raise ForbiddenError("the folder holds links that lead out of those read here")
                return real
        except (OSError, ValueError, RuntimeError):
            continue
    if not inside_a_root:
        raise ForbiddenError("the path is not below a folder this server reads from")
    raise NotFoundError("there is no such file below the folders this server reads from")


def _links(folder: Path | str, levels: int = 2) -> Iterator[Path]:
    """Links to files as far down as images of a folder are looked for."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                if entry.is_file():
                    yield Path(entry.path)
            elif levels > 1 and entry.is_dir():
                yield from _links(entry.path, levels - 1)
