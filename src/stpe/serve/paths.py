"""Files of the server that clients may name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stpe.serve.failures import ForbiddenError, NotFoundError


def inside(path: str, roots: Sequence[Path]) -> Path:
    """The real path of an existing file or folder below one of `roots`, symlinks resolved.

    A relative path is looked for below each root in turn.

    Raises:
        ForbiddenError: it leads elsewhere, or no root is configured. Whether something is there
            is not told.
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
                return real
        except (OSError, ValueError, RuntimeError):
            continue
    if not inside_a_root:
        raise ForbiddenError("the path is not below a folder this server reads from")
    raise NotFoundError("there is no such file below the folders this server reads from")
