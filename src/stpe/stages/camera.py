"""Camera motion over each motion interval, from flow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stpe.geometry.camera_check import focal_costs, pose_agreement
from stpe.geometry.egomotion import Egomotion, fit_egomotion, given_egomotion
from stpe.geometry.field import FlowField
from stpe.geometry.intrinsics import Intrinsics, intrinsics
from stpe.geometry.rotation import vector_of
from stpe.geometry.supplied import supplied
from stpe.geometry.surround import CameraPlane, fit_camera_plane
from stpe.signals import schema
from stpe.stages.motion_rows import FLOW, field_at, given_poses, note_poses, step_of
from stpe.stages.stage import Output, Stage, Window

F64 = NDArray[np.float64]

CUT = 0.5
_COLUMNS = (
    "camera_homography",
    "camera_rotation_deg",
    "camera_translation",
    "camera_confidence",
    "pose_agreement",
    "focal_costs",
)
#: Of the intervals, one in so many is asked which focal length fits.
_ASKED = 2


class Camera(Stage):
    """Homography, rotation and translation direction of every `motion` row.

    Null where two shots meet inside the interval and where too little of the frame is textured.
    Poses that the user gives take the place of the fitted motion; their confidence is low where
    flow does not follow them, and `pose_agreement` tells whether it follows another motion better.
    The state carries the strongest cut seen since the last row, for the next chunk's first row.
    """

    name = "camera"
    version = "4"
    reads = (*FLOW, "motion.previous_frame_index", "motion.interval_s")
    optional = ("transitions.cut",)
    writes = tuple(f"motion.{column}" for column in _COLUMNS)
    options = ("camera",)
    length = None
    ordered = True

    def process(self, window: Window) -> Output:
        """Fit every row of the chunk."""
        size = (window.source.width, window.source.height)
        camera, known = intrinsics(self.request.camera, *size), supplied(self.request.camera)
        poses = given_poses(self.request, window)
        if window.state is None:
            note_poses(self.request, window)
        carried = 0.0 if window.state is None else window.state["cut"][0].as_py()
        cuts = _cuts(window)
        rows: list[dict[str, Any]] = []
        motion = window.rows["motion"]
        keys = motion.select(["frame_index", "pts"]).to_pylist()
        earlier: FlowField | None = None  # what `plane` and `moved` were fitted to
        plane: CameraPlane | None = None
        moved: Egomotion | None = None
        for number, key in enumerate(keys):
            between = [p for i, p in cuts if i <= key["frame_index"]]
            cuts = cuts[len(between) :]
            found: dict[str, Any] = dict.fromkeys(_COLUMNS)
            field = field_at(motion, number, size)
            if field is not None and max([carried, *between]) < CUT:
                if earlier is None or not field.same(earlier):
                    plane = fit_camera_plane(field)
                    moved = fit_egomotion(plane.field, camera, plane.fit.matrix) if plane else None
                    earlier = field
                if plane is not None and moved is not None:
                    found = {
                        "camera_homography": plane.fit.matrix.ravel().tolist(),
                        "camera_rotation_deg": moved.rotation_deg.tolist(),
                        "camera_translation": None
                        if moved.translation is None
                        else moved.translation.tolist(),
                        "camera_confidence": _trust(plane, moved) * field.known_share,
                    }
                    if poses is not None:
                        step = step_of(poses, motion, number)
                        found |= _given(field, camera, step, moved)
                    if known.numbers is not None and number % _ASKED == 0:
                        found["focal_costs"] = focal_costs(field, camera)
            rows.append({**key, **found})
            carried = 0.0
        table = pa.Table.from_pylist(rows, schema=schema("motion", _COLUMNS))
        left = max([carried, *(p for _, p in cuts)])
        return Output({"motion": table}, pa.table({"cut": pa.array([left], pa.float32())}))


def _trust(plane: CameraPlane, moved: Egomotion) -> float:
    """Share of the picture that follows the motion, less where its border does not. What little can
    be seen in a frame that has lost its bearings agrees with itself, so most should be seen too."""
    if plane.divided:
        return plane.fit.inlier_share * plane.surround.coverage
    return max(plane.fit.inlier_share, moved.inlier_share) * plane.surround.coverage


def _given(
    field: FlowField, camera: Intrinsics, step_44: F64 | None, fitted: Egomotion
) -> dict[str, Any]:
    """The columns that poses decide."""
    if step_44 is None:
        return {"camera_rotation_deg": None, "camera_translation": None, "camera_confidence": None}
    given = given_egomotion(field, camera, vector_of(step_44[:3, :3]), step_44[:3, 3])
    return {
        "camera_rotation_deg": given.rotation_deg.tolist(),
        "camera_translation": None if given.translation is None else given.translation.tolist(),
        "camera_confidence": given.inlier_share * field.known_share,
        "pose_agreement": pose_agreement(field, given, fitted),
    }


def _cuts(window: Window) -> list[tuple[int, float]]:
    """(frame, probability) in order; a video's first frame begins a shot and is no cut."""
    if "transitions" not in window.rows:
        return []
    table = window.rows["transitions"]
    pairs = zip(table["frame_index"].to_pylist(), table["cut"].to_pylist(), strict=True)
    return [(index, cut or 0.0) for index, cut in pairs if index > 0]
