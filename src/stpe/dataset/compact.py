"""Keeping tables fast: a thousand short videos must not become a thousand small files.

Fragments are merged as in a binary counter (a run of the newest ones, once it is long and at
least as large as the one before it), so that each row is rewritten about log2(n) times and about
log2(n) fragments remain. Row order never changes.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from stpe.dataset.lance_table import lance_table

#: A file grows no larger, and larger ones are not merged any more.
MAX_BYTES = 1 << 30
#: A run of new fragments is merged once it is this long.
RUN = 8
#: Rows held in memory while merging are limited to about this many bytes.
_BATCH_BYTES = 32 << 20
#: Versions stay this long after they were replaced.
_KEEP = timedelta(hours=1)


def compact(table: Any) -> Any:
    """Merge the newest fragments of a Lance dataset if there are enough; gives the new version."""
    fragments = table.get_fragments()
    sizes = [_bytes(f) for f in fragments]
    first = len(fragments)
    total = 0
    while (
        first
        and sizes[first - 1] < MAX_BYTES
        and (len(fragments) - first < RUN or sizes[first - 1] <= total)
    ):
        first -= 1
        total += sizes[first]
    if len(fragments) - first <= RUN:
        return table
    rows = sum(f.count_rows() for f in fragments[first:])
    table.optimize.compact_files(
        max_bytes_per_file=MAX_BYTES,
        batch_size=max(1, min(8192, _BATCH_BYTES * max(rows, 1) // max(total, 1))),
        num_threads=1,
        excluded_fragment_ids=[f.fragment_id for f in fragments[:first]],
    )
    return lance_table(table.uri)


def clean(path: Path, held: Collection[int] = ()) -> None:
    """Delete files of versions that nobody can be reading; call it with the newest one pinned.

    Args:
        path: the table.
        held: versions that stay.
    """
    table = lance_table(path)
    versions = sorted(table.versions(), key=lambda version: version["version"])
    if len(versions) <= RUN:
        return
    # What was replaced lately may be read by somebody who cannot say so.
    since = datetime.now() - _KEEP
    old = [
        version["version"]
        for version, following in pairwise(versions)
        if following["timestamp"] < since and version["version"] not in held
    ]
    if old:
        table.cleanup_old_versions(older_than=timedelta(0), versions=old, delete_unverified=True)


def _bytes(fragment: Any) -> int:
    return sum(file.file_size_bytes or 0 for file in fragment.data_files())
