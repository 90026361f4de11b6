"""What measured flow and triangulated depth say of the camera that the user described."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from stpe import strict_json
from stpe.geometry.camera_check import FOCAL_SHARES
from stpe.geometry.supplied import supplied
from stpe.signals import schema
from stpe.stages.stage import Output, Stage, Window

#: Of a video's better half of intervals the median agreement that poses must reach. The worse half
#: says little: where flow is lost in a fast turn, no motion fits it but one of chance.
_AGREES = 0.5
_LEAST = 8
#: Standard errors by which another focal length must fit better, or worse, to be told apart.
_TOLD = 3.0
#: Median error, after one factor for all frames, from which depth does not fit the parallax.
_WRONG_DEPTH = 0.5
_TRUSTED = 0.6


class CameraCheck(Stage):
    """`videos.camera_check`."""

    name = "camera_check"
    version = "2"
    reads = ("motion.pose_agreement", "motion.focal_costs")
    optional = (
        "frames.depth",
        "frames.depth_shape",
        "frames.geometric_depth",
        "frames.geometric_depth_shape",
        "frames.geometric_depth_confidence",
    )
    writes = ("videos.camera_check",)
    options = ("camera",)
    needs = ("camera",)
    scope = "video"
    length = None

    def process(self, window: Window) -> Output:
        """One document for the video."""
        known = supplied(self.request.camera)
        motion = window.rows["motion"]
        found: dict[str, Any] = {}
        warnings: list[str] = []
        if known.poses is not None:
            _poses(motion["pose_agreement"].to_pylist(), found, warnings)
        if known.numbers is not None:
            _focal(motion["focal_costs"].to_pylist(), found, warnings)
        frames = window.rows.get("frames")
        if known.depth is not None and frames is not None and "depth" in frames.column_names:
            _depth(frames, found, warnings)
        checked = any(v is not None for v in found.values())
        verdict = "contradicted" if warnings else "agrees" if checked else "unknown"
        found["read_as"] = list(known.read_as)
        document = strict_json.dumps(
            {"verdict": verdict, "warnings": warnings, **found}, sort_keys=True
        )
        table = pa.table({"camera_check": [document]}, schema=schema("videos", ("camera_check",)))
        return Output({"videos": table})


def _poses(agreements: list[float | None], found: dict[str, Any], warnings: list[str]) -> None:
    known = np.array([a for a in agreements if a is not None])
    found["pose_agreement"] = None
    if len(known) < _LEAST:
        return
    best = float(np.quantile(known, 0.75))
    found["pose_agreement"] = round(best, 3)
    if best < _AGREES:
        warnings.append(
            f"flow contradicts the poses of --camera (of the better half of intervals {best:.2f} "
            f"of what can agree does, {_AGREES} is needed): are they camera-to-world, of this "
            "video, and at its times?"
        )


def _focal(rows: list[list[float] | None], found: dict[str, Any], warnings: list[str]) -> None:
    costs_NF = np.array([row for row in rows if row is not None])
    found["focal_fits"] = None
    if len(costs_NF) < _LEAST:
        return
    given = FOCAL_SHARES.index(1.0)
    # Gains of the given length over each other one, in standard errors.
    gains_NF = costs_NF - costs_NF[:, given : given + 1]
    error_F = gains_NF.std(axis=0) / np.sqrt(len(gains_NF)) + 1e-9
    told_F = gains_NF.mean(axis=0) / error_F
    worst = int(told_F.argmin())
    others = np.delete(told_F, given)
    if told_F[worst] < -_TOLD:
        found["focal_fits"] = False
        warnings.append(
            f"{FOCAL_SHARES[worst]:g} times the focal length of --camera fits the flow better by "
            f"{-told_F[worst]:.0f} standard errors: are fx and fy in pixels of the stored frame?"
        )
    elif others.min() > _TOLD:
        found["focal_fits"] = True


def _depth(frames: pa.Table, found: dict[str, Any], warnings: list[str]) -> None:
    rows = (frames.slice(i, 1).to_pylist()[0] for i in range(frames.num_rows))  # one at a time
    errors = [error for row in rows if (error := _error(row)) is not None]
    found["depth_error"] = None
    if len(errors) < 2:
        return
    error = float(np.median(errors))
    found["depth_error"] = round(error, 3)
    if error > _WRONG_DEPTH:
        warnings.append(
            f"the depth images of --camera differ by {100 * error:.0f} % from what parallax shows: "
            "are they of this video, by frame number, and depth rather than disparity?"
        )


def _error(row: dict[str, Any]) -> float | None:
    """Median relative difference of given and triangulated depth, where both are known, in the
    frame's own scale: that of triangulation may be one of its own."""
    if row.get("depth") is None or row.get("geometric_depth") is None:
        return None
    shape = row["geometric_depth_shape"]
    depth_HW = np.array(row["depth"], np.float64).reshape(row["depth_shape"])
    down, across = (
        ((np.arange(n) + 0.5) * m / n).astype(int)
        for n, m in zip(shape, depth_HW.shape, strict=True)
    )
    given = depth_HW[np.ix_(down, across)].ravel()
    seen = np.array(row["geometric_depth"], np.float64)
    sure = np.array(row["geometric_depth_confidence"], np.float64) > _TRUSTED
    both = sure & np.isfinite(seen) & np.isfinite(given) & (given > 0)
    if both.sum() < 40:
        return None
    ratios = given[both] / seen[both]
    return float(np.median(np.abs(ratios / np.median(ratios) - 1)))
