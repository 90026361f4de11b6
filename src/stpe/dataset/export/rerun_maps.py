"""Dense maps of a Rerun recording: depth images, optical flow as colours and as numbers."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stpe.dataset.export.part import Part
from stpe.dataset.export.scene import Scene
from stpe.dataset.reader import Dataset

#: Column of `frames` with a depth map, and those with its shape, unit and scale.
_DEPTHS = (
    ("depth", "depth_shape", "depth_unit", None),
    ("geometric_depth", "geometric_depth_shape", "geometric_unit", "geometric_scale"),
)
_METRES = "metres"
#: Share of the longest vectors that a picture's brightest colour stands for.
_BRIGHTEST = 0.99


def log_depth(rr: Any, recording: Any, scene: Scene) -> None:
    """`depth` and `geometric_depth` where a frame has them; NaN where there is none."""
    wanted = {frame.index for frame in scene.frames}
    for column, shape, unit, scale in _DEPTHS:
        names = ["frame_index", "pts", column, shape, unit, *([scale] if scale else [])]
        said: str | None = None
        for row in _rows(scene.dataset, "frames", scene.video_id, names):
            values = row[column].values
            if values is None or row["frame_index"].as_py() not in wanted:
                continue
            depth_HW = _array(row, column, shape).astype(np.float32)
            told = row[unit].as_py()
            if scale and row[scale].is_valid:
                depth_HW *= row[scale].as_py()
            elif scale:
                told = "trajectory units"
            entity = f"{scene.name}/{column}"
            recording.set_time("pts", duration=row["pts"].as_py())
            if told != said:
                recording.log(entity, rr.AnyValues(unit=str(told)))
                said = told
            meter = 1.0 if told == _METRES else None
            recording.log(entity, rr.DepthImage(depth_HW, meter=meter))


def log_flow(rr: Any, recording: Any, scene: Scene, part: Part) -> None:
    """`flow` at the end of each interval of the motion grid."""
    names = ["pts", "flow", "flow_shape"]
    for row in _rows(scene.dataset, "motion", scene.video_id, names):
        pts = row["pts"].as_py()
        early = part.since_s is not None and pts < part.since_s
        late = part.until_s is not None and pts >= part.until_s
        if not row["flow"].is_valid or early or late:
            continue
        flow_HW2 = _array(row, "flow", "flow_shape")
        recording.set_time("pts", duration=pts)
        recording.log(f"{scene.name}/flow", rr.Image(_colors(flow_HW2)).compress(90))
        recording.log(
            f"{scene.name}/flow/uv", rr.Tensor(flow_HW2, dim_names=("height", "width", "uv"))
        )


def _rows(dataset: Dataset, table: str, video_id: str, names: list[str]) -> Any:
    """One dict of Arrow scalars a row."""
    for part in dataset.stream(table, video_id, names):
        for n in range(part.num_rows):
            yield {name: part[name][n] for name in names}


def _array(row: dict[str, Any], column: str, shape: str) -> NDArray[Any]:
    values: NDArray[Any] = row[column].values.to_numpy(zero_copy_only=False)
    return values.reshape(row[shape].as_py())


def _colors(flow_HW2: NDArray[Any]) -> NDArray[np.uint8]:
    """RGB: hue is the direction (red to the right), saturation the length; white is still."""
    u, v = np.nan_to_num(flow_HW2.astype(np.float32)).transpose(2, 0, 1)
    length = np.hypot(u, v)
    most = max(float(np.quantile(length, _BRIGHTEST)), 1.0)
    hue = np.degrees(np.arctan2(v, u)) % 360
    hsv = np.stack([hue, np.minimum(length / most, 1.0), np.ones_like(hue)], axis=2)
    rgb: NDArray[np.uint8] = (cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255).round().astype(np.uint8)
    return rgb
