"""Opening a Lance table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lance import LanceDataset


def lance_table(path: str | Path, version: int | None = None) -> LanceDataset:
    """The table at `path`, at its newest or the given version.

    Raises what `lance.dataset` raises. The library is loaded with the first table, since it takes
    longer than all the rest of the package.
    """
    import lance

    return lance.dataset(str(path), version=version)
