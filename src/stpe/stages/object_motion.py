"""Velocity of each object in the image, the camera's part in it, and whether it moves itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stpe.geometry.decompose import CameraModel, ObjectFlow, camera_model, object_flow
from stpe.geometry.field import FlowField
from stpe.geometry.intrinsics import Intrinsics, intrinsics
from stpe.rle import decode_mask
from stpe.signals import schema
from stpe.stages.by_frame import rows_by_frame
from stpe.stages.motion_rows import FLOW, field_at, matrix_at, vector_at
from stpe.stages.stage import Output, Stage, Window

F64 = NDArray[np.float64]

_COLUMNS = (
    "velocity_px_s",
    "velocity_std_px_s",
    "camera_velocity_px_s",
    "object_velocity_px_s",
    "motion",
    "motion_confidence",
)
#: Probability from which an object is called moving, or static.
SURE = 0.8
#: Deviations up to which an object has not moved in the picture, and from which the camera has.
_STILL, _CARRIED = 2.0, 6.0
_CAMERA = ("camera_homography", "camera_rotation_deg", "camera_translation")


@dataclass(frozen=True)
class _Interval:
    field: FlowField
    seconds: float
    camera: CameraModel | None
    later: bool  # whether the objects are those of the interval's later frame

    def points(self) -> F64:
        """Where each sample is at the objects' frame."""
        return self.field.points_N2 + (self.field.flow_N2 if self.later else 0.0)


class ObjectMotion(Stage):
    """Motion columns of `objects`, from the intervals that end and begin at each frame."""

    name = "object_motion"
    reads = ("objects.box_xyxy", *FLOW, "motion.previous_frame_index", "motion.interval_s")
    optional = ("objects.mask_rle", *(f"motion.{column}" for column in _CAMERA))
    writes = tuple(f"objects.{column}" for column in _COLUMNS)
    options = ("camera",)
    length = None

    def process(self, window: Window) -> Output:
        """Measure every object of the chunk."""
        size = (window.source.width, window.source.height)
        camera = intrinsics(self.request.camera, *size)
        motion = window.rows["motion"]
        ending = {f: i for i, f in enumerate(motion["frame_index"].to_pylist())}
        beginning = {f: i for i, f in enumerate(motion["previous_frame_index"].to_pylist())}
        rows: list[dict[str, Any]] = []
        for frame, objects in rows_by_frame(window.rows["objects"]):
            found = [
                _interval(motion, places[frame], size, camera, later)
                for places, later in ((ending, True), (beginning, False))
                if frame in places
            ]
            intervals = [interval for interval in found if interval is not None]
            for row in objects:
                key = {"frame_index": frame, "object_id": row["object_id"]}
                rows.append(key | _measure(row, intervals, size))
        return Output({"objects": pa.Table.from_pylist(rows, schema=schema("objects", _COLUMNS))})


def _interval(
    motion: pa.Table, row: int, size: tuple[int, int], camera: Intrinsics, later: bool
) -> _Interval | None:
    field, seconds = field_at(motion, row, size), motion["interval_s"][row].as_py()
    if field is None or not seconds or seconds <= 0:
        return None
    model = None
    if set(_CAMERA) <= set(motion.column_names):
        matrix = matrix_at(motion, "camera_homography", row)
        turn = vector_at(motion, "camera_rotation_deg", row)
        move = vector_at(motion, "camera_translation", row)
        if matrix is not None and turn is not None:
            model = camera_model(field, matrix, np.radians(turn), move, camera)
    return _Interval(field, seconds, model, later)


def _measure(
    row: dict[str, Any], intervals: list[_Interval], size: tuple[int, int]
) -> dict[str, Any]:
    mask = None if row.get("mask_rle") is None else decode_mask(row["mask_rle"])
    box = np.array(row["box_xyxy"], np.float64)
    side = float(np.sqrt(max(1.0, (box[2] - box[0]) * (box[3] - box[1]))))
    flows: list[tuple[ObjectFlow, float]] = []
    for interval in intervals:
        inside = _inside(interval.points(), box, mask, size)
        flow = object_flow(interval.field, inside, side, interval.seconds, interval.camera)
        if flow is not None:
            flows.append((flow, interval.seconds))
    if not flows:
        return {"motion": "unknown"}
    velocity, std = _mean([(f.moved_2 / s, f.std / s) for f, s in flows])
    found = {"velocity_px_s": velocity.tolist(), "velocity_std_px_s": std, "motion": "unknown"}
    known = [(f.camera_2 / s, f.std / s) for f, s in flows if f.camera_2 is not None]
    odds = [f.log_odds for f, _ in flows if f.log_odds is not None]
    if len(known) < len(flows) or len(odds) < len(flows):
        return found
    if all(_fixed(f.moved_2, f.camera_2, f.std) for f, _ in flows if f.camera_2 is not None):
        return found
    induced, _ = _mean(known)
    moving = float(1 / (1 + np.exp(-np.clip(np.mean(odds), -50, 50))))
    name = "moving" if moving >= SURE else "static" if moving <= 1 - SURE else "unknown"
    return found | {
        "camera_velocity_px_s": induced.tolist(),
        "object_velocity_px_s": (velocity - induced).tolist(),
        "motion": name,
        "motion_confidence": max(moving, 1 - moving),
    }


def _fixed(moved_2: F64, camera_2: F64, std: float) -> bool:
    """Whether an object stays where it is in the picture although the camera moves: drawn on the
    screen, part of the vehicle, or followed; flow cannot tell which."""
    still = np.linalg.norm(moved_2) < _STILL * std
    return bool(still and np.linalg.norm(camera_2) > _CARRIED * std)


def _mean(parts: list[tuple[F64, float]]) -> tuple[F64, float]:
    """Inverse-variance mean and its deviation."""
    weight = np.array([1 / std**2 for _, std in parts])
    mean = sum(w * value for w, (value, _) in zip(weight, parts, strict=True)) / weight.sum()
    return np.asarray(mean), float(1 / np.sqrt(weight.sum()))


def _inside(
    points_N2: F64, box_4: F64, mask_HW: NDArray[np.bool_] | None, size: tuple[int, int]
) -> NDArray[np.bool_]:
    """Samples inside the mask, or without one inside the middle of the box."""
    if mask_HW is None:
        middle, half = (box_4[:2] + box_4[2:]) / 2, 0.35 * (box_4[2:] - box_4[:2])
        return np.asarray((np.abs(points_N2 - middle) <= half).all(axis=1))
    low, high = np.maximum(box_4[:2], 0), np.minimum(box_4[2:], size)
    boxed = np.flatnonzero(((points_N2 >= low) & (points_N2 < high)).all(axis=1))
    x, y = points_N2[boxed].astype(int).T
    inside = np.zeros(len(points_N2), np.bool_)
    inside[boxed[mask_HW[y, x]]] = True
    return inside
