"""The camera's path over the whole video, in the state log's unit where one is aligned."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stpe.geometry.rotation import matrix_of
from stpe.geometry.scale import step_scales
from stpe.geometry.supplied import Poses
from stpe.models.notes import note
from stpe.signals import schema
from stpe.stages.motion_rows import given_poses
from stpe.stages.stage import Output, Stage, Window
from stpe.state.path import path_of

F64 = NDArray[np.float64]

_COLUMNS = ("geometric_scale", "geometric_unit", "camera_to_world")
RELATIVE = "relative"
_SURE = ("package", "clock", "frame", "estimated")


class Trajectory(Stage):
    """`frames.camera_to_world`: travel and rotation of each analysis frame put together."""

    name = "trajectory"
    version = "3"
    reads = ("frames.camera_travel", "frames.trajectory_id", "frames.camera_rotation_deg")
    optional = ("frames.state", "frames.alignment")
    writes = tuple(f"frames.{column}" for column in _COLUMNS)
    options = ("state", "camera")
    scope = "video"
    length = None

    def process(self, window: Window) -> Output:
        """One row a frame."""
        frames = window.rows["frames"].to_pylist()
        poses = given_poses(self.request, window)
        if poses is not None:
            rows = [_given(frame, poses) for frame in frames]
            without = [r["frame_index"] for r in rows if r["camera_to_world"] is None]
            if without:
                note(
                    f"--camera has no pose near {len(without)} of {len(rows)} analysed frames, the "
                    f"first is frame {without[0]}: their camera_to_world is null"
                )
            return _output(rows)
        steps, unit = self._known_steps(frames)
        rows = []
        for _, group in groupby(enumerate(frames), key=lambda item: item[1]["trajectory_id"]):
            numbers, members = zip(*group, strict=True)
            rows += _followed(members, steps[list(numbers)], unit)
        return _output(rows)

    def _known_steps(self, frames: list[dict[str, Any]]) -> tuple[F64, str]:
        """How far the log says that the camera went since the row before, NaN where it does not,
        and in what unit."""
        # A log that may be of another video gives no scale.
        stored = [f.get("state") if f.get("alignment") in _SURE else None for f in frames]
        states = [None if text is None else json.loads(text) for text in stored]
        units = {} if self.request.state is None else self.request.state.read().units
        found = path_of(states, units)
        steps = np.full(len(frames), np.nan)
        if found is None:
            return steps, RELATIVE
        places, unit = found
        steps[1:] = np.linalg.norm(np.diff(places, axis=0), axis=1)
        return steps, unit


def _output(rows: list[dict[str, Any]]) -> Output:
    return Output({"frames": pa.Table.from_pylist(rows, schema=schema("frames", _COLUMNS))})


def _given(frame: dict[str, Any], poses: Poses) -> dict[str, Any]:
    """A row by given poses."""
    pose = poses.at(frame["frame_index"], frame["pts"])
    return {
        "frame_index": frame["frame_index"],
        "pts": frame["pts"],
        "geometric_scale": 1.0,
        "geometric_unit": poses.unit,
        "camera_to_world": None if pose is None else pose.ravel().tolist(),
    }


def _followed(frames: tuple[dict[str, Any], ...], known_N: F64, unit: str) -> list[dict[str, Any]]:
    """The rows of one trajectory. `known_N` is the length of each frame's step in `unit`."""
    travel = [f["camera_travel"] for f in frames]
    lengths = np.array([np.nan if t is None else float(np.linalg.norm(t)) for t in travel])
    known_N = np.where(np.arange(len(frames)) > 0, known_N, np.nan)
    scales = step_scales(lengths, known_N)
    scaled = bool(np.isfinite(scales).all())
    pose: F64 | None = np.eye(4)
    rows = []
    for number, frame in enumerate(frames):
        turn = frame["camera_rotation_deg"]
        if number and pose is not None:
            moved = travel[number]
            pose = (
                None
                if moved is None or turn is None
                else pose @ _step(turn, moved, scales[number] if scaled else 1.0)
            )
        rows.append(
            {
                "frame_index": frame["frame_index"],
                "pts": frame["pts"],
                "geometric_scale": scales[number] if scaled else None,
                "geometric_unit": unit if scaled else RELATIVE,
                "camera_to_world": None if pose is None else pose.ravel().tolist(),
            }
        )
    return rows


def _step(turn_deg: list[float], travel: list[float], scale: float) -> F64:
    step = np.eye(4)
    step[:3, :3] = matrix_of(np.radians(turn_deg))
    step[:3, 3] = scale * np.array(travel)
    return step
