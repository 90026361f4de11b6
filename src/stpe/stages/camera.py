"""Camera motion over each motion interval, from flow."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from stpe.geometry.egomotion import fit_egomotion
from stpe.geometry.homography import fit_homography
from stpe.geometry.intrinsics import intrinsics
from stpe.signals import schema
from stpe.stages.motion_rows import FLOW, field_at
from stpe.stages.stage import Output, Stage, Window

CUT = 0.5
_COLUMNS = (
    "camera_homography",
    "camera_rotation_deg",
    "camera_translation",
    "camera_confidence",
)


class Camera(Stage):
    """Homography, rotation and translation direction of every `motion` row.

    Null where two shots meet inside the interval and where too little of the frame is textured.
    The state carries the strongest cut seen since the last row, for the next chunk's first row.
    """

    name = "camera"
    reads = FLOW
    optional = ("transitions.cut",)
    writes = tuple(f"motion.{column}" for column in _COLUMNS)
    options = ("camera",)
    length = None
    ordered = True

    def process(self, window: Window) -> Output:
        """Fit every row of the chunk."""
        size = (window.source.width, window.source.height)
        camera = intrinsics(self.request.camera, *size)
        carried = 0.0 if window.state is None else window.state["cut"][0].as_py()
        cuts = _cuts(window)
        rows: list[dict[str, Any]] = []
        motion = window.rows["motion"]
        keys = motion.select(["frame_index", "pts"]).to_pylist()
        for number, key in enumerate(keys):
            between = [p for i, p in cuts if i <= key["frame_index"]]
            cuts = cuts[len(between) :]
            found: dict[str, Any] = dict.fromkeys(_COLUMNS)
            field = field_at(motion, number, size)
            if field is not None and max([carried, *between]) < CUT:
                plane = fit_homography(field)
                moved = fit_egomotion(field, camera, None if plane is None else plane.matrix)
                if plane is not None and moved is not None:
                    found = {
                        "camera_homography": plane.matrix.ravel().tolist(),
                        "camera_rotation_deg": moved.rotation_deg.tolist(),
                        "camera_translation": None
                        if moved.translation is None
                        else moved.translation.tolist(),
                        # What little can be seen in a frame that has lost its bearings agrees
                        # with itself; most of the frame should be seen.
                        "camera_confidence": max(plane.inlier_share, moved.inlier_share)
                        * field.known_share,
                    }
            rows.append({**key, **found})
            carried = 0.0
        table = pa.Table.from_pylist(rows, schema=schema("motion", _COLUMNS))
        left = max([carried, *(p for _, p in cuts)])
        return Output({"motion": table}, pa.table({"cut": pa.array([left], pa.float32())}))


def _cuts(window: Window) -> list[tuple[int, float]]:
    """(frame, probability) in order; a video's first frame begins a shot and is no cut."""
    if "transitions" not in window.rows:
        return []
    table = window.rows["transitions"]
    pairs = zip(table["frame_index"].to_pylist(), table["cut"].to_pylist(), strict=True)
    return [(index, cut or 0.0) for index, cut in pairs if index > 0]
