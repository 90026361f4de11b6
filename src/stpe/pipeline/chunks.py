"""Cutting the sampled frames of a video into chunks with context, and remembering the borders.

Chunks are made of analysis frames alone: a chunk runs from its first analysis frame to the first
one of the next, so the borders do not depend on which other grids are decoded in the same pass.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pyarrow as pa

from stpe import strict_json
from stpe.models.notes import note
from stpe.pipeline.artifacts import Artifact, ArtifactStore
from stpe.signals import schema
from stpe.stages.stage import ANALYSIS, Span
from stpe.video.frame import Frame
from stpe.video.sampler import Sampled

BASE_ROWS = schema("frames", ("state", "alignment"))


@dataclass(frozen=True, slots=True)
class Margin:
    """Context around a chunk on one grid: at least so many frames before and after it, and every
    frame within `seconds` of it."""

    before: int = 0
    after: int = 0
    seconds: float = 0.0

    def widened(self, other: Margin) -> Margin:
        """What serves both."""
        return Margin(
            max(self.before, other.before),
            max(self.after, other.after),
            max(self.seconds, other.seconds),
        )


@dataclass
class Chunk:
    """Frames of one chunk on every decoded grid, with context, and its base rows.

    Attributes:
        span: its place.
        rows: `frames` rows that the pipeline itself makes.
        frames: grid name to context before, core frames, and context after, in one list.
        core: grid name to (first, count) of the core within that list.
    """

    span: Span
    rows: pa.Table
    frames: dict[str, list[Frame]] = field(default_factory=dict)
    core: dict[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Timeline:
    """Every chunk's place and base rows, and what was measured of the whole video.

    Attributes:
        spans: the chunks.
        starts: row of each chunk's first analysis frame, and the number of rows.
        frames: base rows of all chunks, in order.
        facts: measured `videos.*` columns.
    """

    spans: tuple[Span, ...]
    starts: tuple[int, ...]
    frames: pa.Table
    facts: Mapping[str, Any]

    @classmethod
    def of(cls, frames: pa.Table, spans: Sequence[Span], facts: Mapping[str, Any]) -> Timeline:
        """From the base rows of the whole video and the chunks' places."""
        first = frames["pts"].to_numpy().searchsorted([span.start_pts for span in spans])
        return cls(tuple(spans), (*map(int, first), frames.num_rows), frames, facts)

    def rows(self, chunk: int) -> pa.Table:
        """Base rows of one chunk."""
        first, end = self.starts[chunk : chunk + 2]
        return self.frames.slice(first, end - first)

    def chunk_of(self, frame_index: int) -> int:
        """The chunk a decoded frame lies in."""
        return max(0, bisect_right(self.first_frames, frame_index) - 1)

    @cached_property
    def first_frames(self) -> list[int]:
        """Decoder index of each chunk's first analysis frame."""
        return list(self.frames["frame_index"].take(pa.array(self.starts[:-1])).to_pylist())

    def artifact(self) -> Artifact:
        """As it is stored."""
        ends = {name: [getattr(s, name) for s in self.spans] for name in ("start_pts", "end_pts")}
        return Artifact({"frames": self.frames, "spans": pa.table(ends)}, facts=self.facts)

    @classmethod
    def load(cls, store: ArtifactStore, key: str, own: Mapping[str, Any]) -> Timeline:
        """What `artifact` stored, with a source's `own` facts of the same content."""
        frames, spans = store.table(key, "frames"), store.table(key, "spans")
        assert frames is not None
        assert spans is not None
        last = spans.num_rows - 1
        places = [
            Span(i, row["start_pts"], row["end_pts"], i == last)
            for i, row in enumerate(spans.to_pylist())
        ]
        return cls.of(frames, places, {**store.facts(key), **own})


def base_rows(frames: Iterable[Frame]) -> pa.Table:
    """`frames` rows of analysis frames; state that travelled with a frame is its own."""
    frames = list(frames)
    if any(strict_json.holds_no_number(frame.state) for frame in frames):
        note("states that came with the frames hold NaN or Infinity: null in frames.state")
    records = [
        {
            "frame_index": frame.index,
            "pts": frame.pts,
            "state": None
            if frame.state is None
            else strict_json.dumps(frame.state, sort_keys=True),
            "alignment": None if frame.state is None else "package",
        }
        for frame in frames
    ]
    return pa.Table.from_pylist(records, schema=BASE_ROWS)


def _text(state: dict[str, Any] | None) -> str | None:
    return None if state is None else strict_json.dumps(state, sort_keys=True)


@dataclass
class _Open:
    """A chunk that waits for frames of its own, or for context after it."""

    place: int  # chunk number on the clock; gaps in the video skip numbers
    before: dict[str, list[Frame]]
    core: dict[str, list[Frame]]
    after: dict[str, list[Frame]]
    span: Span | None = None


class Cutter:
    """Turns sampled frames into chunks, each given out as soon as its context after is there.

    Args:
        margins: for each decoded grid, the most context any stage needs.
        chunk_s: seconds a chunk.
        timeline: the borders, where an earlier pass found them; without it the analysis grid
            must be among those decoded.
    """

    def __init__(
        self,
        margins: Mapping[str, Margin],
        chunk_s: float,
        timeline: Timeline | None = None,
    ) -> None:
        self._margins = margins
        self._chunk_s = chunk_s
        self._timeline = timeline
        self._recent = {g: deque[Frame]() for g in margins}
        self._now = -math.inf
        self._open: _Open | None = None
        self._closed: deque[_Open] = deque()
        self._origin: float | None = None
        self._count = 0

    def push(self, item: Sampled) -> Iterator[Chunk]:
        """Take the next frame; yields the chunks it completes."""
        frames = {g: Frame(item.index, item.pts, im, item.state) for g, im in item.images.items()}
        place = self._place(item)
        self._now = item.pts
        if self._open is None:
            self._open = self._begin(place)
        elif place != self._open.place:
            self._close(item.pts, last=False)
            self._open = self._begin(place)
        for grid, frame in frames.items():
            margin = self._margins[grid]
            for chunk in self._closed:
                near = frame.pts < _end(chunk) + margin.seconds
                if near or len(chunk.after[grid]) < margin.after:
                    chunk.after[grid].append(frame)
            self._open.core[grid].append(frame)
            recent = self._recent[grid]
            recent.append(frame)
            while len(recent) > margin.before and recent[0].pts < frame.pts - margin.seconds:
                recent.popleft()
        while self._closed and self._satisfied(self._closed[0]):
            yield self._chunk(self._closed.popleft())

    def finish(self, end_pts: float) -> Iterator[Chunk]:
        """The chunks that are left at the end of the video, whose last frame ends at `end_pts`."""
        if self._open is not None:
            self._close(end_pts, last=True)
        while self._closed:
            yield self._chunk(self._closed.popleft())

    def _place(self, item: Sampled) -> int:
        if self._timeline is not None:
            return self._timeline.chunk_of(item.index)
        current = 0 if self._open is None else self._open.place
        if ANALYSIS.name not in item.images:
            return current
        if self._origin is None:
            self._origin = item.pts
        return max(current, int((item.pts - self._origin) // self._chunk_s))

    def _begin(self, place: int) -> _Open:
        before = {grid: list(frames) for grid, frames in self._recent.items()}
        return _Open(place, before, {g: [] for g in before}, {g: [] for g in before})

    def _close(self, end_pts: float, last: bool) -> None:
        chunk, self._open = self._open, None
        assert chunk is not None
        if self._timeline is not None:
            chunk.span = self._timeline.spans[chunk.place]
        elif chunk.core[ANALYSIS.name]:
            start_pts = chunk.core[ANALYSIS.name][0].pts
            chunk.span = Span(self._count, start_pts, end_pts, last)
            self._count += 1
        else:
            return
        self._closed.append(chunk)

    def _satisfied(self, chunk: _Open) -> bool:
        return all(
            len(chunk.after[g]) >= m.after
            and (not m.seconds or self._now >= _end(chunk) + m.seconds)
            for g, m in self._margins.items()
        )

    def _chunk(self, chunk: _Open) -> Chunk:
        assert chunk.span is not None
        if self._timeline is not None:
            rows = self._timeline.rows(chunk.span.index)
        else:
            rows = base_rows(chunk.core[ANALYSIS.name])
        return Chunk(
            chunk.span,
            rows,
            {g: [*chunk.before[g], *chunk.core[g], *chunk.after[g]] for g in chunk.core},
            {g: (len(chunk.before[g]), len(chunk.core[g])) for g in chunk.core},
        )


def _end(chunk: _Open) -> float:
    assert chunk.span is not None
    return chunk.span.end_pts
