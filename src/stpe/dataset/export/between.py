"""What is drawn on a frame that was not analysed: boxes, masks and joints half way between those of
the analysed frames before and after it. Identities carry it, so a lone look is not drawn; across a
cut nothing is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stpe.dataset.export.scene import Scene, SceneFrame, empty_row
from stpe.rle import decode_mask
from stpe.tracking.path import LONGEST_GAP_S

#: Columns of an object that are mixed number by number.
_MIXED = ("box_xyxy", "velocity_px_s", "object_velocity_px_s", "keypoints")
#: Columns of `frames` that tell of the time since the row before.
_SINCE = ("camera_motion", "camera_rotation_deg", "camera_translation")


@dataclass(frozen=True)
class Shape:
    """A mask inside its box.

    Attributes:
        inside_HW: bool. box_xyxy: the box in stored pixels, clipped to the frame.
    """

    inside_HW: NDArray[np.bool_]
    box_xyxy: NDArray[np.float64]


@dataclass(frozen=True)
class _Link:
    """Two observations of one track, with nothing of it between them; numbers of their frames."""

    first: int
    last: int
    before: dict[str, Any]
    after: dict[str, Any]


class Between:
    """The frames of one video, analysed or not, asked for in time order."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._times = [frame.pts for frame in scene.frames]
        starts = scene.dataset.arrow("shots", scene.video_id, ["start_frame"])["start_frame"]
        cuts = {frame.index for frame in scene.frames if frame.row["camera_motion"] == "cut"}
        self._cuts = sorted(cuts | {start for start in starts.to_pylist() if start})
        self._links: dict[int, list[_Link]] = defaultdict(list)
        for link in self._linked():
            for number in range(link.first, link.last):
                self._links[number].append(link)
        self._shapes: dict[tuple[int, int], Shape | None] = {}

    def at(self, index: int, pts: float) -> SceneFrame:
        """The frame with this decoder index and time. Objects that were not looked for on it have
        `interpolated` set, and a `shape` in place of a mask where they had one.
        """
        number = bisect_right(self._times, pts) - 1
        frames = self._scene.frames
        there = number >= 0 and frames[number].index == index
        self._shapes = {key: shape for key, shape in self._shapes.items() if key[0] >= number - 8}
        if there:
            links = [link for link in self._links[number] if link.first < number]
            found = [*frames[number].objects, *(self._mix(link, pts) for link in links)]
            return SceneFrame(number, frames[number].row, found)
        row = empty_row(index, pts)
        if number >= 0 and not self._cut(frames[number].index, index):
            row = {**frames[number].row, "frame_index": index, "pts": pts}
            following = frames[number + 1 : number + 2]
            if following and not self._cut(index, following[0].index):
                row |= {column: following[0].row[column] for column in _SINCE}
        return SceneFrame(number, row, [self._mix(link, pts) for link in self._links[number]])

    def analysed(self, frame: SceneFrame) -> bool:
        """Whether a frame that `at` gave was analysed."""
        frames = self._scene.frames
        return frame.number >= 0 and frames[frame.number].index == frame.index

    def _cut(self, first: int, last: int) -> bool:
        """Whether a shot begins after one decoder index, up to another."""
        place = bisect_right(self._cuts, first)
        return place < len(self._cuts) and self._cuts[place] <= last

    def _linked(self) -> list[_Link]:
        links = []
        last: dict[int, tuple[int, dict[str, Any]]] = {}
        for frame in self._scene.frames:
            for item in frame.objects:
                track = item["track_id"]
                if track is None:
                    continue
                if track in last and self._together(last[track][0], frame.number):
                    links.append(_Link(last[track][0], frame.number, last[track][1], item))
                last[track] = (frame.number, item)
        return links

    def _together(self, first: int, last: int) -> bool:
        """Whether what was seen on one analysed frame may be followed to another."""
        near = last == first + 1 or self._times[last] - self._times[first] <= LONGEST_GAP_S
        frames = self._scene.frames
        return near and not self._cut(frames[first].index, frames[last].index)

    def _mix(self, link: _Link, pts: float) -> dict[str, Any]:
        begin, end = self._times[link.first], self._times[link.last]
        share = (pts - begin) / (end - begin)
        a, b = link.before, link.after
        item = {**a, "mask_rle": None, "interpolated": True}
        for column in _MIXED:
            item[column] = _between(a[column], b[column], share)
        if a["motion"] != b["motion"]:
            item["motion"] = None
        item["shape"] = self._shape(link, share)
        return item

    def _shape(self, link: _Link, share: float) -> Shape | None:
        a, b = self._cropped(link.first, link.before), self._cropped(link.last, link.after)
        if a is None or b is None:
            return None
        box = (1 - share) * a.box_xyxy + share * b.box_xyxy
        size = (max(1, round(box[2] - box[0])), max(1, round(box[3] - box[1])))
        begin, end = (
            cv2.resize(shape.inside_HW.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
            for shape in (a, b)
        )
        return Shape((1 - share) * begin + share * end > 0.5, box)

    def _cropped(self, number: int, item: dict[str, Any]) -> Shape | None:
        key = (number, item["object_id"])
        if key not in self._shapes:
            self._shapes[key] = _crop(item)
        return self._shapes[key]


def _crop(item: dict[str, Any]) -> Shape | None:
    if item["mask_rle"] is None:
        return None
    mask = decode_mask(item["mask_rle"]).astype(bool)
    height, width = mask.shape
    box = np.clip(np.asarray(item["box_xyxy"], float), 0, [width, height, width, height])
    x0, y0 = np.floor(box[:2]).astype(int)
    x1, y1 = np.ceil(box[2:]).astype(int)
    inside = mask[y0:y1, x0:x1]
    return Shape(inside, np.array([x0, y0, x1, y1], float)) if inside.size else None


def _between(a: list[float] | None, b: list[float] | None, share: float) -> list[float] | None:
    if a is None or b is None:
        return None
    mixed: list[float] = ((1 - share) * np.asarray(a) + share * np.asarray(b)).tolist()
    return mixed
