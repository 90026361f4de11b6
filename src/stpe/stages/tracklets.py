"""Association of objects from frame to frame, over chunk borders, within a shot."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stpe.signals import schema
from stpe.stages.motion_rows import FLOW, field_at, matrix_at
from stpe.stages.stage import Output, Stage, Window
from stpe.tracking.kalman import BoxFilter
from stpe.tracking.tracker import Boxes, Track, Tracker

F64 = NDArray[np.float64]

_COLUMNS = ("tracklet_id", "tracklet_confidence")
_NUMBERS = pa.list_(pa.float64())
_STATE = pa.schema(
    [
        ("next_id", pa.int64()),
        ("now_s", pa.float64()),
        ("shot", pa.int32()),
        (
            "tracks",
            pa.list_(
                pa.struct(
                    [
                        ("id", pa.int64()),
                        ("mean", _NUMBERS),
                        ("covariance", _NUMBERS),
                        ("box", _NUMBERS),
                        ("label", pa.string()),
                        ("embedding", _NUMBERS),
                        ("seen_s", pa.float64()),
                        ("hits", pa.int64()),
                        ("missed", pa.bool_()),
                        ("shift", _NUMBERS),
                        ("camera", _NUMBERS),
                        ("camera_scale", pa.float64()),
                    ]
                )
            ),
        ),
    ]
)


class Tracklets(Stage):
    """`objects.tracklet_id`: see `stpe.tracking.tracker`. The state is the live and lost tracks."""

    name = "tracklets"
    reads = ("frames.frame_index", "objects.box_xyxy", "objects.confidence", "objects.label")
    optional = (
        "frames.shot_id",
        "objects.origin",
        "objects.mask_confidence",
        "objects.embedding",
        *FLOW,
        "motion.camera_homography",
    )
    writes = tuple(f"objects.{column}" for column in _COLUMNS)
    length = None
    ordered = True

    def process(self, window: Window) -> Output:
        """Continue through the chunk's analysis frames."""
        size = (window.source.width, window.source.height)
        frames, objects = window.rows["frames"], window.rows["objects"]
        motion = window.rows.get("motion")
        tracker, shot = _restore(window.state)
        shots = frames["shot_id"].to_pylist() if "shot_id" in frames.column_names else None
        index = objects["frame_index"].to_numpy()
        ends = [] if motion is None else motion["frame_index"].to_pylist()
        ids, trust = np.zeros(len(objects), np.int64), np.zeros(len(objects))
        at = 0
        for number, frame in enumerate(frames["frame_index"].to_pylist()):
            while at < len(ends) and ends[at] <= frame:
                _carry(tracker, motion, at, size)
                at += 1
            now = None if shots is None else shots[number]
            if tracker.now_s is not None and now != shot:
                tracker.cut()
            shot = now
            rows = slice(*np.searchsorted(index, [frame, frame + 1]))
            found = _boxes(objects.slice(rows.start, rows.stop - rows.start))
            ids[rows], trust[rows] = tracker.step(frames["pts"][number].as_py(), found)
        while at < len(ends):
            _carry(tracker, motion, at, size)
            at += 1
        table = objects.select(["frame_index", "object_id"])
        none = ids == 0
        table = table.append_column("tracklet_id", pa.array(ids, pa.int64(), mask=none))
        table = table.append_column("tracklet_confidence", pa.array(trust, pa.float32(), mask=none))
        return Output({"objects": table.cast(schema("objects", _COLUMNS))}, _save(tracker, shot))


def scores_of(objects: pa.Table) -> F64:
    """How sure each object is to be there at all, 0..1, whatever it is.

    What the detector doubts may still stand out as a region of its own: a perfect mask halves the
    doubt. An unnamed object's confidence holds its mask's quality already.
    """
    score: F64 = objects["confidence"].to_numpy().astype(np.float64)
    stands_out = np.zeros(len(objects))
    if "mask_confidence" in objects.column_names:
        stands_out = objects["mask_confidence"].fill_null(0.0).to_numpy().astype(np.float64)
    if "origin" in objects.column_names:
        unnamed = [origin == "automatic" for origin in objects["origin"].to_pylist()]
        stands_out[np.array(unnamed, bool)] = 1.0
    return np.asarray(1 - (1 - score) * (1 - stands_out / 2))


def _carry(tracker: Tracker, motion: pa.Table, row: int, size: tuple[int, int]) -> None:
    known = "camera_homography" in motion.column_names
    tracker.carry(
        field_at(motion, row, size) if "flow" in motion.column_names else None,
        matrix_at(motion, "camera_homography", row) if known else None,
    )


def _boxes(objects: pa.Table) -> Boxes:
    known = "embedding" in objects.column_names
    return Boxes(
        centred(objects["box_xyxy"]),
        scores_of(objects),
        [None if name == "object" else name for name in objects["label"].to_pylist()],
        vectors_of(objects["embedding"]) if known else None,
    )


def centred(boxes: pa.ChunkedArray) -> F64:
    """Boxes xyxy as N x (cx, cy, w, h)."""
    corners = np.array(boxes.to_pylist(), np.float64).reshape(len(boxes), 4)
    middle, sides = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
    return np.concatenate([middle, sides], axis=1)


def vectors_of(column: pa.ChunkedArray) -> F64 | None:
    """Vectors of one length as N x D, NaN where null; None where all are."""
    known = np.flatnonzero(column.is_valid().to_numpy())
    if not len(known):
        return None
    values = pa.concat_arrays([chunk.flatten() for chunk in column.chunks]).to_numpy()
    vectors = np.full((len(column), len(values) // len(known)), np.nan)
    vectors[known] = values.reshape(len(known), -1)
    return vectors


def _restore(state: pa.Table | None) -> tuple[Tracker, int | None]:
    if state is None:
        return Tracker(), None
    row = state.to_pylist()[0]
    tracks = [
        Track(
            id=t["id"],
            filter=BoxFilter(_array(t["mean"], (4, 2)), _array(t["covariance"], (4, 2, 2))),
            box_4=np.array(t["box"]),
            label=t["label"],
            embedding_D=None if t["embedding"] is None else np.array(t["embedding"]),
            seen_s=t["seen_s"],
            hits=t["hits"],
            missed=t["missed"],
            shift_2=None if t["shift"] is None else np.array(t["shift"]),
            camera_2=np.array(t["camera"]),
            camera_scale=t["camera_scale"],
        )
        for t in row["tracks"]
    ]
    return Tracker(tracks, row["next_id"], row["now_s"]), row["shot"]


def _save(tracker: Tracker, shot: int | None) -> pa.Table:
    tracks = [
        {
            "id": t.id,
            "mean": t.filter.mean_42.ravel(),
            "covariance": t.filter.covariance_422.ravel(),
            "box": t.box_4,
            "label": t.label,
            "embedding": t.embedding_D,
            "seen_s": t.seen_s,
            "hits": t.hits,
            "missed": t.missed,
            "shift": t.shift_2,
            "camera": t.camera_2,
            "camera_scale": t.camera_scale,
        }
        for t in tracker.tracks
    ]
    row = {"next_id": tracker.next_id, "now_s": tracker.now_s, "shot": shot, "tracks": tracks}
    return pa.Table.from_pylist([row], schema=_STATE)


def _array(numbers: list[float], shape: tuple[int, ...]) -> F64:
    return np.array(numbers, np.float64).reshape(shape)
