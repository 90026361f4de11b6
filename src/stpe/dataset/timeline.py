"""The frames that clips are cut from: those that were analysed, or all that the decoder gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stpe.video import open_source

if TYPE_CHECKING:
    from stpe.dataset.reader import Dataset

Int64s = NDArray[np.int64]


@dataclass(frozen=True)
class FrameLine:
    """Frames of all videos, one after the other.

    Attributes:
        index: decoder frame index, N. pts: seconds, N.
        spans: first row and number of rows of each video.
    """

    index: Int64s
    pts: NDArray[np.float64]
    spans: dict[str, tuple[int, int]]

    def shots(self, dataset: Dataset) -> Int64s:
        """Shot of each frame, N; -1 where it is not known."""
        found = np.full(len(self.index), -1, np.int64)
        for video_id, (start, number) in self.spans.items():
            rows = dataset.arrow("shots", video_id, ["start_frame", "shot_id"])
            if rows.num_rows:
                begins = rows["start_frame"].to_numpy()
                here = slice(start, start + number)
                at = np.searchsorted(begins, self.index[here], side="right") - 1
                found[here] = rows["shot_id"].to_numpy()[np.maximum(at, 0)]
        return found


def analysed(dataset: Dataset) -> FrameLine:
    """The rows of `frames`."""
    rows = dataset.arrow("frames", columns=["frame_index", "pts"])
    spans = dataset.rows.spans("frames")
    return FrameLine(rows["frame_index"].to_numpy(), rows["pts"].to_numpy(), spans)


def decoded(dataset: Dataset) -> FrameLine:
    """Every frame; times are those in `transitions`, or of a decode where they are not stored.

    Raises:
        DatasetError: the media of a video that must be decoded are missing.
    """
    times: list[NDArray[np.float64]] = []
    spans: dict[str, tuple[int, int]] = {}
    start = 0
    for row in dataset.arrow("videos", columns=["video_id", "frame_count"]).to_pylist():
        video_id = row["video_id"]
        stored = dataset.arrow("transitions", video_id, ["pts"])["pts"].to_numpy()
        if len(stored) != row["frame_count"]:
            with open_source(dataset.media(video_id)) as source:
                stored = np.array([frame.pts for frame in source], np.float64)
        times.append(np.asarray(stored, np.float64))
        spans[video_id] = (start, len(stored))
        start += len(stored)
    index = [np.arange(len(part), dtype=np.int64) for part in times]
    none = np.empty(0)
    return FrameLine(
        np.concatenate([*index, none.astype(np.int64)]), np.concatenate([*times, none]), spans
    )
