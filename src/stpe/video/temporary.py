"""Temporary copies of sources: what is said where one cannot be written."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from stpe.errors import SourceError


@contextmanager
def copying() -> Iterator[None]:
    """Write a temporary copy of a source. An OSError inside becomes a SourceError that says where
    there is no room and what to do."""
    try:
        yield
    except OSError as error:
        place = tempfile.tempdir or "any folder for temporary files"
        raise SourceError(
            f"cannot be copied into {place}: {error.strerror or error}; free space there or name "
            "another folder in TMPDIR"
        ) from error
