"""Groups of signals as a few numbers a frame, for models that are too small to take them whole.

Each function gives NxD float32 over the analysis frames of one video, NaN where nothing was
measured, or None where the dataset lacks the signal. Lengths are shares of the frame's width.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stpe.dataset.reader import Dataset

F32 = NDArray[np.float32]
Row = Mapping[str, Any]

#: Cells (rows, columns) that maps are averaged over.
_CELLS = (3, 5)
_OBJECTS = ("frame_index", "label", "area_px", "box_xyxy", "motion", "object_velocity_px_s",
            "track_id", "depth")  # fmt: skip


class Rows:
    """The tables of one video that groups are made of."""

    def __init__(self, dataset: Dataset, video: str) -> None:
        self._dataset, self._video = dataset, video
        facts = dataset.arrow("videos", video, ["width", "height"]).to_pylist()[0]
        self.width, self.height = float(facts["width"]), float(facts["height"])
        names = ["frame_index", "pts", "state", "alignment", "embedding", "camera_rotation_deg"]
        names += ["camera_translation", "camera_confidence", "depth", "depth_shape"]
        self.frames: list[Row] = dataset.arrow("frames", video, names).to_pylist()

    @cached_property
    def objects(self) -> dict[int, list[Row]]:
        """Objects by frame."""
        found: dict[int, list[Row]] = defaultdict(list)
        for row in self._dataset.arrow("objects", self._video, list(_OBJECTS)).to_pylist():
            found[row["frame_index"]].append(row)
        return found

    @cached_property
    def flow(self) -> dict[int, F32]:
        """Mean flow in cells over the interval that ends at a frame, widths a second."""
        names = ["frame_index", "flow", "flow_shape", "interval_s"]
        wanted = {row["frame_index"] for row in self.frames}
        found = {}
        for table in self._dataset.stream("motion", self._video, names):
            for row in table.to_pylist():
                if row["frame_index"] in wanted and row["flow"] is not None:
                    flow_hw2 = np.array(row["flow"], np.float32).reshape(row["flow_shape"])
                    found[row["frame_index"]] = _cells(flow_hw2) / self.width / row["interval_s"]
        return found

    @cached_property
    def clips(self) -> list[Row]:
        """Clips by their end."""
        names = ["end_pts", "embedding", "surprise"]
        rows = self._dataset.arrow("clips", self._video, names).to_pylist()
        return sorted(rows, key=lambda row: row["end_pts"])


def embedding(rows: Rows) -> F32 | None:
    """The frame's global embedding."""
    return _stacked([row["embedding"] for row in rows.frames])


def camera(rows: Rows) -> F32 | None:
    """Rotation in degrees since the previous frame, direction of translation, and their trust."""
    values = [
        [
            *(row["camera_rotation_deg"] or [np.nan] * 3),
            *(row["camera_translation"] or [np.nan] * 3),
            _known(row["camera_confidence"]),
        ]
        for row in rows.frames
    ]
    found = np.array(values, np.float32)
    return found if np.isfinite(found[:, :3]).any() else None


def flow(rows: Rows) -> F32 | None:
    """Image flow in cells, widths a second."""
    return _stacked([_flat(rows.flow.get(row["frame_index"])) for row in rows.frames])


def depth(rows: Rows) -> F32 | None:
    """Log depth in cells, less its mean: relative depth has no scale."""
    found = []
    for row in rows.frames:
        value = None
        if row["depth"] is not None:
            depth_hw = np.array(row["depth"], np.float32).reshape(row["depth_shape"])
            logs = np.log(np.maximum(_cells(depth_hw[..., None])[..., 0], 1e-3))
            value = (logs - logs.mean()).ravel()
        found.append(value)
    return _stacked(found)


def objects(rows: Rows) -> F32 | None:
    """How many there are, and where the largest three are and how large."""
    if not rows.objects:
        return None
    found = []
    for row in rows.frames:
        seen = sorted(rows.objects.get(row["frame_index"], ()), key=lambda o: -(o["area_px"] or 0))
        named = sum(o["label"] != "object" for o in seen)
        values = [len(seen), named]
        for place in range(3):
            box = _box(seen[place], rows) if place < len(seen) else [np.nan] * 4
            values += box
        found.append(values)
    return np.array(found, np.float32)


def object_motion(rows: Rows) -> F32 | None:
    """Moving things: how many, what share they fill, their mean velocity, the largest one's."""
    if not any(o["motion"] for seen in rows.objects.values() for o in seen):
        return None
    found = []
    # Motion at a frame is measured with the interval that begins there: the frame before's is told.
    for frame in (None, *(row["frame_index"] for row in rows.frames[:-1])):
        moving = [
            o
            for o in rows.objects.get(frame, ())
            if o["motion"] == "moving" and o["object_velocity_px_s"] is not None
        ]
        values = [float(len(moving)), 0.0, *[np.nan] * 8]
        if moving:
            areas = np.array([o["area_px"] or 1.0 for o in moving])
            velocity = np.array([o["object_velocity_px_s"] for o in moving]) / rows.width
            most = int(areas.argmax())
            mean = (areas[:, None] * velocity).sum(0) / areas.sum()
            share = areas.sum() / (rows.width * rows.height)
            values = [len(moving), share, *mean, *velocity[most], *_box(moving[most], rows)]
        found.append(values)
    return np.array(found, np.float32)


def tracks(rows: Rows) -> F32 | None:
    """Identities: how many go on, how many are new, and how the largest has moved and grown."""
    if not any(o["track_id"] is not None for seen in rows.objects.values() for o in seen):
        return None
    before: dict[int, Row] = {}
    found = []
    then = None
    for row in rows.frames:
        now = {
            o["track_id"]: o
            for o in rows.objects.get(row["frame_index"], ())
            if o["track_id"] is not None
        }
        going = [i for i in now if i in before]
        values = [float(len(going)), float(len(now) - len(going)), *[np.nan] * 6]
        if going and then is not None:
            largest = max(going, key=lambda i: now[i]["area_px"] or 0)
            a, b = (np.array(_box(o[largest], rows)) for o in (before, now))
            step = max(row["pts"] - then, 1e-3)
            growth = np.log(max(b[2], 1e-4) / max(a[2], 1e-4)) / step
            values[2:] = [*((b[:2] - a[:2]) / step), growth, *b[:3]]
        found.append(values)
        before, then = now, row["pts"]
    return np.array(found, np.float32)


def clips(rows: Rows) -> F32 | None:
    """Embedding and surprise of the last clip that is over."""
    ends = [clip["end_pts"] for clip in rows.clips]
    found: list[Sequence[float] | None] = []
    for row in rows.frames:
        at = bisect_right(ends, row["pts"] + 1e-6) - 1
        clip = rows.clips[at] if at >= 0 else None
        known = clip is not None and clip["embedding"] is not None
        found.append([*clip["embedding"], _known(clip["surprise"])] if clip and known else None)
    return _stacked(found)


#: Name to maker, in the order of the report.
GROUPS: dict[str, Callable[[Rows], F32 | None]] = {
    "embedding": embedding,
    "camera": camera,
    "flow": flow,
    "depth": depth,
    "objects": objects,
    "object_motion": object_motion,
    "tracks": tracks,
    "clips": clips,
}


def _cells(values_hwC: F32) -> F32:
    """Means over a coarse grid."""
    rows, columns = _CELLS
    parts = [
        [cell.reshape(-1, values_hwC.shape[2]).mean(0) for cell in np.array_split(band, columns, 1)]
        for band in np.array_split(values_hwC, rows, 0)
    ]
    return np.array(parts, np.float32)


def _flat(value: F32 | None) -> F32 | None:
    return None if value is None else value.ravel()


def _stacked(values: Sequence[Sequence[float] | F32 | None]) -> F32 | None:
    """Rows of one length, NaN where there is none; None where there is no row at all."""
    length = next((len(v) for v in values if v is not None), 0)
    if not length:
        return None
    none = np.full(length, np.nan, np.float32)
    return np.array([none if v is None else v for v in values], np.float32)


def _box(row: Row, rows: Rows) -> list[float]:
    """Centre x, centre y, width and height."""
    x0, y0, x1, y1 = row["box_xyxy"]
    scale = rows.width
    return [(x0 + x1) / 2 / scale, (y0 + y1) / 2 / scale, (x1 - x0) / scale, (y1 - y0) / scale]


def _known(value: float | None) -> float:
    return np.nan if value is None else value
