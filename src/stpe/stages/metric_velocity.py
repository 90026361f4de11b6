"""How fast objects move in the world, where depth has a unit or can be given one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stpe.geometry.intrinsics import Intrinsics, intrinsics
from stpe.geometry.metric import Metric, factor_between, velocity
from stpe.geometry.supplied import supplied
from stpe.signals import schema
from stpe.stages.stage import Output, Stage, Window

F64 = NDArray[np.float64]

_COLUMNS = ("velocity_metric", "velocity_metric_std", "velocity_metric_unit")
RELATIVE = "relative"
#: Relative deviation of the focal length that an assumed field of view has: 55 to 90 degrees.
_ASSUMED_FOCAL = 0.25
#: Least relative deviation of a depth.
_LEAST_SPREAD = 0.05
_TRUSTED = 0.6


class MetricVelocity(Stage):
    """`objects.velocity_metric`.

    A relative depth map is given the unit of triangulated depth, where that has one, by the median
    of their ratio over what stands still; how far single cells lie off it is its uncertainty.
    """

    name = "metric_velocity"
    reads = (
        "objects.object_velocity_px_s",
        "objects.velocity_std_px_s",
        "objects.depth",
        "objects.depth_confidence",
        "frames.depth",
        "frames.depth_shape",
        "frames.depth_unit",
    )
    optional = (
        "frames.geometric_depth",
        "frames.geometric_depth_shape",
        "frames.geometric_depth_confidence",
        "frames.geometric_scale",
        "frames.geometric_unit",
    )
    writes = tuple(f"objects.{column}" for column in _COLUMNS)
    options = ("camera",)
    length = None

    def process(self, window: Window) -> Output:
        """One row an object; null where its frame has no depth with a unit."""
        camera = intrinsics(self.request.camera, window.source.width, window.source.height)
        focal = 0.0 if supplied(self.request.camera).numbers else _ASSUMED_FOCAL
        metrics = {row["frame_index"]: _metric(row) for row in window.rows["frames"].to_pylist()}
        rows = []
        for row in window.rows["objects"].to_pylist():
            found = _measured(row, metrics.get(row["frame_index"]), camera, focal)
            rows.append({"frame_index": row["frame_index"], "object_id": row["object_id"], **found})
        return Output({"objects": pa.Table.from_pylist(rows, schema=schema("objects", _COLUMNS))})


def _measured(
    row: dict[str, Any], metric: Metric | None, camera: Intrinsics, focal: float
) -> dict[str, Any]:
    moved, depth = row["object_velocity_px_s"], row["depth"]
    if metric is None or moved is None or depth is None or not np.isfinite(depth):
        return dict.fromkeys(_COLUMNS)
    own = max(_LEAST_SPREAD, 1 - (row["depth_confidence"] or 0.0))
    # The factor's scatter already holds what is wrong with the map from one place to another.
    spread = float(np.hypot(metric.spread or own, focal))
    found, std = velocity(
        np.array(moved, np.float64),
        row["velocity_std_px_s"],
        metric.factor * depth,
        spread,
        camera,
    )
    return {
        "velocity_metric": found.tolist(),
        "velocity_metric_std": std,
        "velocity_metric_unit": f"{metric.unit}/s",
    }


def _metric(frame: dict[str, Any]) -> Metric | None:
    """The unit of a frame's depth map."""
    if frame["depth"] is None:
        return None
    if frame["depth_unit"] != RELATIVE:
        return Metric(1.0, 0.0, frame["depth_unit"])
    scale, seen = frame.get("geometric_scale"), frame.get("geometric_depth")
    if scale is None or seen is None:
        return None
    depth_HW = np.array(frame["depth"], np.float64).reshape(frame["depth_shape"])
    down, across = (
        ((np.arange(n) + 0.5) * m / n).astype(int)
        for n, m in zip(frame["geometric_depth_shape"], depth_HW.shape, strict=True)
    )
    trust = np.array(frame["geometric_depth_confidence"], np.float64)
    known = np.where(trust > _TRUSTED, np.array(seen, np.float64) * scale, np.nan)
    found = factor_between(depth_HW[np.ix_(down, across)].ravel(), known)
    if found is None:
        return None
    return Metric(found[0], max(found[1], _LEAST_SPREAD), frame["geometric_unit"])
