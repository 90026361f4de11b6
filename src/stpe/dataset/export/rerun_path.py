"""The camera's path of a Rerun recording: a pose a frame, and the line through them."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from stpe.dataset.export.scene import Scene

_COLORS = ([230, 60, 60], [60, 200, 60], [80, 110, 240])
#: Length of the drawn axes as a share of the path's extent.
_AXES = 0.05


def log_path(rr: Any, recording: Any, scene: Scene) -> None:
    """`path/<trajectory>` for every stretch of poses with one origin and unit, which `unit` names;
    shown from its first pose to the frame after its last. A lone pose is no path."""
    columns = ["frame_index", "pts", "trajectory_id", "camera_to_world", "geometric_unit"]
    numbers = {frame.index: frame.number for frame in scene.frames}
    stretches: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in scene.dataset.arrow("frames", scene.video_id, columns).to_pylist():
        if row["camera_to_world"] is not None and row["frame_index"] in numbers:
            stretches[row["trajectory_id"] or 0].append(row)
    stretches = {number: rows for number, rows in stretches.items() if len(rows) > 1}
    if not stretches:
        return
    root = f"{scene.name}/path"
    recording.log(root, rr.ViewCoordinates.RDF, static=True)
    for number, rows in stretches.items():
        poses_N44 = np.reshape([row["camera_to_world"] for row in rows], (-1, 4, 4))
        places_N3 = poses_N44[:, :3, 3]
        entity = f"{root}/{number}"
        units = sorted({str(row["geometric_unit"]) for row in rows})
        recording.set_time("pts", duration=rows[0]["pts"])
        recording.log(entity, rr.AnyValues(unit=", ".join(units)))
        recording.log(f"{entity}/line", rr.LineStrips3D([places_N3]))
        axis = max(float(np.ptp(places_N3, axis=0).max()) * _AXES, 1e-6)
        recording.log(f"{entity}/camera", rr.Arrows3D(vectors=np.eye(3) * axis, colors=_COLORS))
        for row, pose_44 in zip(rows, poses_N44, strict=True):
            recording.set_time("pts", duration=row["pts"])
            recording.log(
                f"{entity}/camera",
                rr.Transform3D(translation=pose_44[:3, 3], mat3x3=pose_44[:3, :3]),
            )
        after = scene.frames[numbers[rows[-1]["frame_index"]] + 1 :]
        if after:
            recording.set_time("pts", duration=after[0].pts)
            recording.log(entity, rr.Clear(recursive=True))
