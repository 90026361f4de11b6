"""Finding the rows a stage reads, among artifacts in memory and on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from stpe.pipeline.artifacts import Artifact, ArtifactStore
from stpe.pipeline.chunks import Timeline
from stpe.pipeline.plan import Plan, Read
from stpe.pipeline.tables import compose, concat, empty, facts_row, keys_and

#: Keys of artifacts by stage name and chunk number; a video stage's chunk is None.
Keys = Mapping[tuple[str, int | None], str]


class Reader:
    """Rows of chunks and of the whole video, whoever made them.

    Attributes:
        fresh: artifacts of chunks in flight, by stage and chunk; they may not be on disk yet.
        base: the pipeline's own rows of chunks in flight.
        timeline: set once the video was decoded to its end.
        facts: `videos.*` columns, the measured ones once they are known.
    """

    def __init__(
        self,
        plan: Plan,
        store: ArtifactStore,
        keys: Keys,
        facts: Mapping[str, Any],
        timeline: Timeline | None,
    ) -> None:
        self.fresh: dict[tuple[str, int | None], Artifact] = {}
        self.base: dict[int, pa.Table] = {}
        self.timeline = timeline
        self.facts = facts
        self._scope = {node.name: node.stage.scope for node in plan.nodes}
        self._store = store
        self._keys = keys
        self._whole: dict[tuple[str, str, tuple[str, ...]], pa.Table] = {}

    def chunked(self, read: Read) -> bool:
        """Whether the table's rows come chunk by chunk."""
        if read.creator is None:
            return read.table == "frames"
        return self._scope[read.creator] == "chunk"

    def rows(self, read: Read, chunk: int | None) -> pa.Table:
        """The table's rows of one chunk, or for None of the whole video."""
        return self.video(read) if chunk is None else self.chunk(read, chunk)

    def chunk(self, read: Read, chunk: int) -> pa.Table:
        """The table's rows of one chunk; of the whole video where they are not made by chunk."""
        place = chunk if self.chunked(read) else None
        return compose(read, lambda *of: self._fetch(place, *of))

    def video(self, read: Read) -> pa.Table:
        """The table's rows of the whole video."""
        if self.chunked(read):
            return concat([self.chunk(read, i) for i in self._chunks()])
        return compose(read, lambda *of: self._fetch(None, *of))

    def state(self, stage: str, chunk: int) -> pa.Table | None:
        """What an ordered stage carried out of a chunk."""
        artifact = self.fresh.get((stage, chunk))
        if artifact is not None:
            return artifact.state
        return self._store.state(self._keys[stage, chunk])

    def _chunks(self) -> range:
        assert self.timeline is not None, "whole-video rows before the end of the video"
        return range(len(self.timeline.spans))

    def _fetch(
        self, chunk: int | None, source: str | None, table: str, columns: Sequence[str]
    ) -> pa.Table:
        if source is None:
            rows = facts_row(self.facts) if table == "videos" else self._base(chunk)
            return rows.select([n for n in keys_and(table, columns) if n in rows.column_names])
        if self._scope[source] == "video":
            # Every chunk of a later pass asks again, and these tables are small: keep them.
            place = (source, table, tuple(columns))
            if place not in self._whole:
                self._whole[place] = self._load(source, None, table, columns)
            return self._whole[place]
        if chunk is not None:
            return self._load(source, chunk, table, columns)
        return concat([self._load(source, i, table, columns) for i in self._chunks()])

    def _base(self, chunk: int | None) -> pa.Table:
        if chunk is not None and chunk in self.base:
            return self.base[chunk]
        assert self.timeline is not None
        return self.timeline.frames if chunk is None else self.timeline.rows(chunk)

    def _load(self, source: str, chunk: int | None, table: str, columns: Sequence[str]) -> pa.Table:
        names = keys_and(table, columns)
        artifact = self.fresh.get((source, chunk))
        if artifact is not None:
            found = artifact.tables.get(table)
        else:
            found = self._store.table(self._keys[source, chunk], table, names)
        return empty(table, columns) if found is None else found.select(names)
