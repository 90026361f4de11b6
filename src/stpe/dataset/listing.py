"""What is inside a dataset, to look at: its videos, one line each, and a row of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from stpe.dataset.layout import table_schema
from stpe.dataset.reader import Dataset
from stpe.dataset.rows import Query

#: Longest value of a sample, as text; what is longer is no help to a reader.
_READABLE = 100


@dataclass(frozen=True)
class VideoLine:
    """One video.

    Attributes:
        video_id, uri: which; `uri` as it was given.
        duration_s: seconds; width, height: pixels; frames: analysed frames; objects: rows.
        summary: what the narrator says of it, if captions were made.
        warnings: what was wrong with the source.
    """

    video_id: str
    uri: str | None
    duration_s: float | None
    width: int | None
    height: int | None
    frames: int
    objects: int
    summary: str | None
    warnings: list[str]


def list_videos(dataset: Dataset) -> list[VideoLine]:
    """Every sealed video in the order in which it was added. Raises DatasetError."""
    columns = ["video_id", "uri", "duration_s", "width", "height", "summary", "warnings"]
    known = {row["video_id"]: row for row in dataset.arrow("videos", columns=columns).to_pylist()}
    counts = {
        table: {
            row["values"]: row["counts"]
            for row in pc.value_counts(dataset.arrow(table, columns=["video_id"])["video_id"])
            .to_pylist()
        }
        for table in ("frames", "objects")
    }  # fmt: skip
    return [
        VideoLine(
            video_id=video_id,
            uri=row.get("uri"),
            duration_s=row.get("duration_s"),
            width=row.get("width"),
            height=row.get("height"),
            frames=counts["frames"].get(video_id, 0),
            objects=counts["objects"].get(video_id, 0),
            summary=row.get("summary"),
            warnings=row.get("warnings") or [],
        )
        for video_id in dataset.videos
        for row in [known.get(video_id, {})]
    ]


def sample(dataset: Dataset, table: str) -> dict[str, Any]:
    """The row in the middle of the first video that has rows: values that fit a line.

    Raises DatasetError.
    """
    names = tuple(table_schema(table).names)
    first, rows = next(iter(dataset.rows.spans(table).values()))
    (found,) = dataset.rows.read(Query(table, names, span=(first + rows // 2, 1))).to_pylist()
    return {
        name: value
        for name, value in found.items()
        if value is not None and len(str(value)) <= _READABLE
    }
