"""What the picture-making exports need of a video: its frames with their objects and pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stpe.dataset.export.part import WHOLE, Part
from stpe.dataset.pixels import decode
from stpe.dataset.reader import Dataset
from stpe.errors import DatasetError
from stpe.video.frame import Grid, ImageHW3

_FRAME = (
    "frame_index", "pts", "shot_id", "caption_brief", "caption_normal", "caption_detailed",
    "camera_motion", "camera_rotation_deg", "camera_translation", "camera_confidence",
    "camera_homography", "state", "alignment",
)  # fmt: skip
_OBJECT = (
    "frame_index", "object_id", "pts", "label", "confidence", "origin", "box_xyxy", "mask_rle",
    "area_px", "track_id", "velocity_px_s", "object_velocity_px_s", "motion", "depth", "keypoints",
)  # fmt: skip
_TRACK = ("track_id", "label", "confidence", "motion_summary")


@dataclass(frozen=True)
class SceneFrame:
    """One analysis frame: its position in the video, its `frames` row and its `objects` rows, each
    with the row of its `track`, or None.

    `number` counts the exported analysis frames from 0; columns holding arrays too large to draw
    (embeddings, dense maps) are left out of the rows.
    """

    number: int
    row: dict[str, Any]
    objects: list[dict[str, Any]] = field(default_factory=list)

    @property
    def index(self) -> int:
        """Decoder frame index."""
        return int(self.row["frame_index"])

    @property
    def pts(self) -> float:
        """Presentation time in seconds."""
        return float(self.row["pts"])


@dataclass(frozen=True)
class Scene:
    """One video for drawing: its `videos` row and its analysis frames in time order."""

    dataset: Dataset
    video_id: str
    video: dict[str, Any]
    frames: list[SceneFrame]

    @property
    def name(self) -> str:
        """File name stem that is unique in the dataset and readable: `<source stem>_<id>`."""
        return _name(self.video_id, self.video["uri"])

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the stored frames."""
        return int(self.video["width"]), int(self.video["height"])

    @property
    def start_s(self) -> float:
        """Presentation time of the first decoded frame."""
        return float(self.video["start_pts"] or 0.0)

    @property
    def end_s(self) -> float:
        """Presentation time at which the last frame ends."""
        return self.start_s + float(self.video["duration_s"] or 0.0)

    @property
    def fps(self) -> float | None:
        """Average rate of the analysis frames; None for fewer than two."""
        if len(self.frames) < 2:
            return None
        return (len(self.frames) - 1) / (self.frames[-1].pts - self.frames[0].pts)

    def images(
        self, frames: Sequence[SceneFrame] | None = None, long_side: int | None = None
    ) -> Iterator[ImageHW3]:
        """RGB of the given frames (all by default), at the stored size or reduced."""
        chosen = self.frames if frames is None else frames
        size = Grid("scene", long_side=long_side).frame_size(*self.size)
        yield from decode(self.dataset.media(self.video_id), [f.index for f in chosen], size)


def scenes(dataset: Dataset, part: Part = WHOLE) -> Iterator[Scene]:
    """Every video of a part, one at a time."""
    for video_id in part.of(dataset):
        yield scene(dataset, video_id, part)


def names(dataset: Dataset, part: Part = WHOLE) -> dict[str, str]:
    """`Scene.name` of every video by its id, without reading the scenes."""
    rows = dataset.arrow("videos", columns=["video_id", "uri"]).to_pylist()
    uris = {row["video_id"]: row["uri"] for row in rows}
    return {video_id: _name(video_id, uris[video_id]) for video_id in part.of(dataset)}


def _name(video_id: str, uri: str | None) -> str:
    stem = str(uri or "").rstrip("/").rsplit("/", 1)[-1].rsplit(".", 1)[0]
    safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in stem)[:40]
    return f"{safe}_{video_id[:8]}" if safe else video_id


def scene(dataset: Dataset, video_id: str, part: Part = WHOLE) -> Scene:
    """One video of a dataset, with the analysis frames of a part.

    Raises:
        UsageError: it is not there, or the part asks for a rate that it does not have.
        DatasetError: no analysis frame lies in the part.
    """
    (video,) = dataset.arrow("videos", video_id).to_pylist()
    span = (part.since_s, part.until_s)
    every = dataset.arrow("frames", video_id, _FRAME, *span).to_pylist()
    if span != (None, None) and not every:
        raise DatasetError(
            f"no analysed frame of video {video_id} is {_told(*span)}: it goes from "
            f"{video['start_pts']:g} s to {video['start_pts'] + video['duration_s']:g} s"
        )
    rows = [every[n] for n in part.thinned([row["pts"] for row in every])]
    objects: dict[int, list[dict[str, Any]]] = {}
    tracks = {
        row["track_id"]: row
        for row in dataset.arrow("tracks", video_id, _TRACK).to_pylist()
        if row["track_id"] is not None
    }
    for item in dataset.arrow("objects", video_id, _OBJECT, *span).to_pylist():
        item["track"] = tracks.get(item["track_id"])
        objects.setdefault(item["frame_index"], []).append(item)
    frames = [SceneFrame(n, r, objects.get(r["frame_index"], [])) for n, r in enumerate(rows)]
    return Scene(dataset, video_id, video, frames)


def _told(since_s: float | None, until_s: float | None) -> str:
    since = "" if since_s is None else f" at or after {since_s:g} s"
    until = "" if until_s is None else f" before {until_s:g} s"
    return f"{since}{' and' * bool(since and until)}{until}".strip()


def empty_row(index: int, pts: float) -> dict[str, Any]:
    """What `frames` would say of a frame of which nothing is known."""
    return dict.fromkeys(_FRAME) | {"frame_index": index, "pts": pts}


def evenly(frames: Sequence[SceneFrame], number: int) -> list[SceneFrame]:
    """At most `number` frames spread over the whole, first and last among them."""
    if len(frames) <= number:
        return list(frames)
    return [
        frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, number).round().astype(int))
    ]
