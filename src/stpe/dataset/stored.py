"""The rows of single videos as they were last committed, for who joins others with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from stpe.dataset.layout import Manifest, read_plan, table_schema
from stpe.dataset.rows import Query, Rows


class Stored:
    """A dataset under one manifest."""

    def __init__(self, root: Path, manifest: Manifest) -> None:
        self.root = root
        self.manifest = manifest
        self._rows = Rows(root, manifest.tables)

    def plan(self, video_id: str) -> dict[str, Any] | None:
        """What `DatasetWriter.commit` was told of how a video's rows are made; None where it was
        not, or the dataset does not hold the video."""
        key = self.manifest.videos.get(video_id)
        return None if key is None else read_plan(self.root, key)

    def rows_of(
        self,
        table: str,
        video_id: str,
        columns: Sequence[str],
        span: tuple[int, int] | None = None,
    ) -> pa.Table:
        """Rows of one video; all of them, or (first, number).

        Raises:
            DatasetError: they are damaged.
        """
        first, count = self._rows.spans(table).get(video_id, (0, 0))
        if span is not None:
            first, count = first + span[0], max(0, min(span[1], count - span[0]))
        if not count:
            return pa.schema([table_schema(table).field(n) for n in columns]).empty_table()
        return self._rows.read(Query(table, tuple(columns), span=(first, count)))
