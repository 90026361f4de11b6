"""One video of a dataset as scorers see it: rows by frame, and where the chunks met."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stpe.dataset.reader import Dataset
from stpe.errors import DatasetError
from stpe.evaluate.measure import Blocks, NotScoredError
from stpe.pipeline.artifacts import ArtifactStore
from stpe.signals import CALIBRATED, RAW

I64 = NDArray[np.int64]
Row = dict[str, Any]

#: Stages of which every chunk has an artifact with frame numbers, cheapest first.
_CHUNKED = ("frame_camera", "object_motion", "tracklets", "objects", "features")
_ARTIFACT = ("stage", "chunk", "key")


class View:
    """Signals of one video.

    Args:
        dataset: an open dataset.
        video_id: one of its videos.
    """

    def __init__(self, dataset: Dataset, video_id: str) -> None:
        self.dataset = dataset
        self.video_id = video_id
        self.video: Row = dataset.arrow("videos", video_id).to_pylist()[0]
        self.blocks = Blocks.of(self.video["frame_count"], self.video["duration_s"] or 0.0)
        self._rows: dict[tuple[str, ...], list[Row]] = {}

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the stored frame."""
        return int(self.video["width"]), int(self.video["height"])

    @cached_property
    def times(self) -> dict[int, float]:
        """pts of every analysed frame, and of every frame that motion is known between."""
        found = {r["frame_index"]: r["pts"] for r in self.rows("motion", ("frame_index", "pts"))}
        return found | {
            r["frame_index"]: r["pts"] for r in self.rows("frames", ("frame_index", "pts"))
        }

    @cached_property
    def analysed(self) -> I64:
        """Decoder indices of the analysis frames, ascending."""
        return np.array([r["frame_index"] for r in self.rows("frames", ("frame_index",))], np.int64)

    def rows(self, table: str, columns: Sequence[str]) -> list[Row]:
        """Rows of a table, in key order."""
        key = (table, *columns)
        if key not in self._rows:
            self._rows[key] = list(self.stream(table, columns))
        return self._rows[key]

    def stream(self, table: str, columns: Sequence[str]) -> Iterator[Row]:
        """The same without holding them: for columns that are maps or flow fields."""
        for part in self.dataset.stream(table, self.video_id, list(columns)):
            yield from part.to_pylist()

    def known(self, table: str, column: str) -> bool:
        """Whether a column has any value."""
        data = self.dataset.arrow(table, self.video_id, [column])[column]
        return bool(len(data) > data.null_count)

    def need(self, table: str, column: str, stage: str = "") -> None:
        """Raise NotScoredError where the dataset has no such signal.

        A table that is empty although `stage` ran has it: nothing was found.
        """
        if self.known(table, column):
            return
        ran = any(r["stage"] == stage and r["key"] for r in self.rows("artifacts", _ARTIFACT))
        if not ran or len(self.dataset.arrow(table, self.video_id, [column])):
            raise NotScoredError(f"the dataset has no {table}.{column}")

    @cached_property
    def chunk_borders_s(self) -> tuple[float, ...]:
        """pts at which one chunk ended and the next began.

        Raises NotScoredError where the artifacts that tell are no longer there.
        """
        chunks = self.rows("artifacts", _ARTIFACT)
        by_stage = {
            stage: {r["chunk"]: r["key"] for r in chunks if r["stage"] == stage and r["key"]}
            for stage in _CHUNKED
        }
        store = ArtifactStore(self.dataset.path / "artifacts")
        for keys in by_stage.values():
            first = [_first_frame(store, key) for chunk, key in sorted(keys.items()) if chunk]
            if keys and None not in first:
                return tuple(self.times[i] for i in first if i in self.times)
        raise NotScoredError("the artifacts that say where chunks met are not there")


class RawView(View):
    """The video with its raw confidences in place of the calibrated ones."""

    @classmethod
    def of(cls, view: View) -> RawView | None:
        """The raw view of the same video; None where no raw confidence is stored."""
        names = (name.split(".") for name in CALIBRATED)
        if not any(view.known(table, column + RAW) for table, column in names):
            return None
        return cls(view.dataset, view.video_id)

    def stream(self, table: str, columns: Sequence[str]) -> Iterator[Row]:
        """Rows of a table, in key order. Where no raw confidence is stored the other one stays."""
        raw = {c: c + RAW for c in columns if f"{table}.{c}" in CALIBRATED}
        for row in super().stream(table, (*columns, *raw.values())):
            yield row | {c: row[name] for c, name in raw.items() if row[name] is not None}


def _first_frame(store: ArtifactStore, key: str) -> int | None:
    for name in ("frames", "objects"):
        try:
            table = store.table(key, name)
        except (DatasetError, OSError):
            return None
        if table is not None and table.num_rows:
            return int(min(table["frame_index"].to_pylist()))
    return None
