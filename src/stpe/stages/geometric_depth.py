"""Depth by triangulation from the flow that is already there, and how far the camera went."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stpe.geometry.intrinsics import Intrinsics, intrinsics
from stpe.geometry.parallax import Follower, InverseDepth
from stpe.geometry.rotation import matrix_of
from stpe.geometry.supplied import Poses
from stpe.signals import schema
from stpe.stages.motion_rows import FLOW, field_at, given_poses, step_of, vector_at
from stpe.stages.stage import Output, Stage, Window

F64 = NDArray[np.float64]

_COLUMNS = (
    "geometric_depth",
    "geometric_depth_shape",
    "geometric_depth_confidence",
    "camera_travel",
    "trajectory_id",
)
#: Confidence of the camera below which an interval says nothing of depth, nor of the path without
#: poses that are known.
LEAST_TRUST = 0.3
#: Confidence is the probability that depth is off by less than this share.
WITHIN = 0.25


@dataclass(frozen=True)
class _Path:
    """The camera since the last analysis frame.

    `known` is whether every interval since then could be measured, `trajectory` the number of the
    path it is on, `place_3` and `facing_33` where it is in that frame's camera, `shot` that
    frame's.
    """

    follower: Follower = field(default_factory=Follower)
    trajectory: int = -1
    known: bool = False
    place_3: F64 = field(default_factory=lambda: np.zeros(3))
    facing_33: F64 = field(default_factory=lambda: np.eye(3))
    shot: int = -1

    def lost(self) -> _Path:
        """After an interval of which nothing is known."""
        return replace(self, follower=self.follower.lost(), known=False)

    def at_frame(self, shot: int) -> _Path:
        """At an analysis frame: on the same trajectory if it could be followed up to here."""
        path = self if shot == self.shot else self.lost()
        number = path.trajectory + (not path.known)
        return _Path(path.follower, number, path.known, path.place_3, path.facing_33, shot)

    def onward(self) -> _Path:
        """From an analysis frame."""
        return _Path(self.follower, self.trajectory, known=True, shot=self.shot)

    def table(self) -> pa.Table:
        """As a carried state."""
        depth = self.follower.depth
        speed = math.nan if self.follower.speed is None else self.follower.speed
        numbers = [self.trajectory, self.known, speed, self.shot, *self.place_3]
        numbers += self.facing_33.ravel().tolist()
        h, w = (0, 0) if depth is None else depth.shape
        parts: list[Any] = [] if depth is None else [*depth.value_N, *depth.information_N]
        stuck = [] if self.follower.stuck_N is None else self.follower.stuck_N.tolist()
        line = [h, w, *map(float, numbers), *parts, *stuck]
        return pa.table({"path": pa.array(line, pa.float64())})

    @classmethod
    def of(cls, table: pa.Table) -> _Path:
        """From a carried state."""
        n = table["path"].to_numpy()
        shape = int(n[0]), int(n[1])
        depth, cells = None, shape[0] * shape[1]
        if cells:
            depth = InverseDepth(n[18 : 18 + cells], n[18 + cells : 18 + 2 * cells], shape)
        stuck_N = n[18 + 2 * cells :]
        speed = None if math.isnan(n[4]) else float(n[4])
        follower = Follower(depth, speed, stuck_N if len(stuck_N) else None)
        facing = n[9:18].reshape(3, 3)
        return cls(follower, int(n[2]), n[3] > 0.5, n[6:9], facing, int(n[5]))


class GeometricDepth(Stage):
    """`frames.geometric_depth` and `frames.camera_travel`, in the unit of one trajectory.

    A trajectory ends where an interval cannot be measured, as at a cut, or its camera motion is not
    to be trusted: what follows has a unit of its own. The state carries the depths in sight and
    the path since the last analysis frame.
    """

    name = "geometric_depth"
    version = "4"
    reads = (
        "frames.frame_index",
        *FLOW,
        "motion.previous_frame_index",
        "motion.interval_s",
        "motion.camera_rotation_deg",
        "motion.camera_translation",
        "motion.camera_confidence",
    )
    optional = ("frames.shot_id",)
    writes = tuple(f"frames.{column}" for column in _COLUMNS)
    options = ("camera",)
    length = None
    ordered = True

    def process(self, window: Window) -> Output:
        """Follow the chunk's intervals, and report at its analysis frames."""
        size = (window.source.width, window.source.height)
        camera = intrinsics(self.request.camera, *size)
        poses = given_poses(self.request, window)
        frames, motion = window.rows["frames"], window.rows["motion"]
        path = _Path() if window.state is None else _Path.of(window.state)
        ends = motion["frame_index"].to_pylist()
        shots = [0] * frames.num_rows
        if "shot_id" in frames.column_names:
            shots = [-1 if s is None else s for s in frames["shot_id"].to_pylist()]
        rows: list[dict[str, Any]] = []
        at = 0
        for number, key in enumerate(frames.select(["frame_index", "pts"]).to_pylist()):
            while at < len(ends) and ends[at] <= key["frame_index"]:
                path = _after(path, motion, at, camera, poses, size)
                at += 1
            path = path.at_frame(shots[number])
            travel = path.place_3.tolist() if path.known else None
            rows.append(
                {
                    **key,
                    "camera_travel": travel,
                    "trajectory_id": path.trajectory,
                    **_map(path.follower.depth),
                }
            )
            path = path.onward()
        while at < len(ends):
            path = _after(path, motion, at, camera, poses, size)
            at += 1
        table = pa.Table.from_pylist(rows, schema=schema("frames", _COLUMNS))
        return Output({"frames": table}, path.table())


def _after(
    path: _Path,
    motion: pa.Table,
    row: int,
    camera: Intrinsics,
    poses: Poses | None,
    size: tuple[int, int],
) -> _Path:
    """The path after one `motion` row. Poses, if given, say how long the step was."""
    turn = vector_at(motion, "camera_rotation_deg", row)
    seconds = motion["interval_s"][row].as_py()
    seen = field_at(motion, row, size)
    if turn is None or seen is None or not seconds or seconds <= 0:
        return path.lost()
    move = vector_at(motion, "camera_translation", row)
    turn = np.radians(turn)
    step = None if poses is None else step_of(poses, motion, row)
    length = None if step is None else float(np.linalg.norm(step[:3, 3]))
    if (motion["camera_confidence"][row].as_py() or 0.0) < LEAST_TRUST:
        if length is None:
            return path.lost()
        follower = path.follower.lost()
    else:
        follower, length = path.follower.advanced(seen, camera, turn, move, seconds, length)
        if length is None:
            return replace(path.lost(), follower=follower)
    place = path.place_3 if move is None else path.place_3 + path.facing_33 @ (length * move)
    return replace(
        path, follower=follower, place_3=place, facing_33=path.facing_33 @ matrix_of(turn)
    )


def _map(depth: InverseDepth | None) -> dict[str, Any]:
    if depth is None or not depth.known.any():
        return {}
    known, spread = depth.known, depth.relative_std
    far = np.full(len(known), np.nan)
    far[known] = 1 / depth.value_N[known]
    # Beyond what float16 holds is as good as unknown.
    far[far > 6e4] = np.nan
    trust = np.zeros(len(known))
    trust[known] = [math.erf(WITHIN / s / math.sqrt(2)) for s in spread[known]]
    trust[np.isnan(far)] = 0.0
    return {
        "geometric_depth": far.astype(np.float16),
        "geometric_depth_shape": list(depth.shape),
        "geometric_depth_confidence": trust.astype(np.float16),
    }
