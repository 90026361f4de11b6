"""Reading flow fields and camera models back from `motion` rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stpe.geometry.field import FlowField, flow_field
from stpe.geometry.pose_times import poses_of
from stpe.geometry.supplied import Poses, supplied
from stpe.models.notes import note
from stpe.stages.stage import Request, Window

FLOW = ("motion.flow", "motion.flow_shape", "motion.flow_confidence")


def field_at(motion: pa.Table, row: int, size: tuple[int, int]) -> FlowField | None:
    """The flow field of a row; None where the row has no flow. `size` is the stored frame's."""
    flow, shape, confidence = (
        motion[name][row] for name in ("flow", "flow_shape", "flow_confidence")
    )
    if not (flow.is_valid and shape.is_valid and confidence.is_valid):
        return None
    flow_, confidence_ = (x.values.to_numpy(zero_copy_only=False) for x in (flow, confidence))
    return flow_field(flow_, confidence_, shape.as_py(), size)


def matrix_at(table: pa.Table, column: str, row: int) -> NDArray[np.float64] | None:
    """A 3x3 of a nine-number list column; None where null."""
    value = table[column][row]
    if not value.is_valid:
        return None
    return np.asarray(value.values.to_numpy(zero_copy_only=False), np.float64).reshape(3, 3)


def vector_at(table: pa.Table, column: str, row: int) -> NDArray[np.float64] | None:
    """A list column's numbers; None where null."""
    value = table[column][row]
    if not value.is_valid:
        return None
    return np.asarray(value.values.to_numpy(zero_copy_only=False), np.float64)


def given_poses(request: Request, window: Window) -> Poses | None:
    """Poses of --camera on the clock of the window's video."""
    return poses_of(request.camera, window.source)[0]


def note_poses(request: Request, window: Window) -> None:
    """Note what the poses of --camera were taken for, and how they came onto the video's clock."""
    for text in (*supplied(request.camera).read_as, *poses_of(request.camera, window.source)[1]):
        note(text)


def step_of(poses: Poses, motion: pa.Table, row: int) -> NDArray[np.float64] | None:
    """The later camera in the earlier camera's frame by given poses; None where they lack one.

    Reads previous_frame_index and interval_s.
    """
    earlier, later, pts, seconds = (
        motion[name][row].as_py()
        for name in ("previous_frame_index", "frame_index", "pts", "interval_s")
    )
    return poses.step((earlier, pts - seconds), (later, pts))
