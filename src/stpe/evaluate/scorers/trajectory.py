"""Camera trajectories: absolute error after alignment, each stretch by itself."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stpe.evaluate.measure import Measure, NotScoredError, Series, divide
from stpe.evaluate.trajectory import absolute_errors, align
from stpe.evaluate.truth import Truth
from stpe.evaluate.units import units_per_metre
from stpe.evaluate.view import View

F64 = NDArray[np.float64]

_COLUMNS = ("frame_index", "camera_to_world", "trajectory_id", "geometric_unit")
_LEAST = 4  # poses: three fit any three others


def score(view: View, truth: Truth) -> list[Measure]:
    """ATE, with scale fitted where the unit is relative, against the straight line at even speed
    that fits the true path best; a camera that stands is one."""
    if "camera" not in truth.parts():
        raise NotScoredError("the truth has no camera poses")
    view.need("frames", "camera_to_world")
    stretches: dict[tuple[int, int], list[tuple[dict[str, Any], F64]]] = defaultdict(list)
    for row in view.rows("frames", _COLUMNS):
        true = truth.frames.get(row["frame_index"])
        pose = None if true is None else true.camera_to_world_44
        if row["camera_to_world"] is not None and true is not None and pose is not None:
            stretches[row["trajectory_id"] or 0, true.segment].append((row, pose))
    frames: list[int] = []
    errors: list[float] = []
    straight: list[float] = []
    scaled = False
    for pairs in stretches.values():
        if len(pairs) < _LEAST:
            continue
        rows, poses = zip(*pairs, strict=True)
        index = [row["frame_index"] for row in rows]
        true_N44 = np.stack(poses)
        found = np.array([row["camera_to_world"] for row in rows], np.float64).reshape(-1, 4, 4)
        per_metre = units_per_metre(rows[0]["geometric_unit"], truth)
        with_scale = per_metre is None or not truth.metric
        if per_metre is not None:
            found[:, :3, 3] /= per_metre
        scaled |= with_scale
        if np.ptp(found[:, :3, 3], axis=0).max() < 1e-9:
            found[:, :3, 3] = 0.0
            with_scale = False
        frames += index
        errors += absolute_errors(align(found, true_N44, with_scale), true_N44).tolist()
        straight += _off_straight(np.array(index, np.float64), true_N44[:, :3, 3]).tolist()
    if not frames:
        raise NotScoredError(f"no stretch of the trajectory has {_LEAST} frames with true poses")
    blocks = view.blocks
    squares = np.stack([np.square(errors), np.square(straight), np.ones(len(frames))], axis=-1)
    order = np.argsort(frames)
    return [
        Measure(
            "frames.camera_to_world",
            "ATE, RMSE",
            "m" if truth.metric else "scene unit",
            "lower",
            len(frames),
            "poses",
            blocks.of_sums(frames, squares, lambda s: divide(s[0], s[2]) ** 0.5),
            baseline=blocks.of_sums(frames, squares, lambda s: divide(s[1], s[2]) ** 0.5),
            baseline_name="straight line",
            note=f"aligned a stretch, scale {'fitted' if scaled else 'as given'}",
            series=Series(
                np.array(frames, np.int64)[order],
                np.array(errors)[order],
                "m" if truth.metric else "scene unit",
            ),
        )
    ]


def _off_straight(times_N: F64, places_N3: F64) -> F64:
    """Distance of each place to that of the least-squares motion along a line at even speed."""
    t_N, p_N3 = times_N - times_N.mean(), places_N3 - places_N3.mean(axis=0)
    return np.asarray(np.linalg.norm(p_N3 - np.outer(t_N, t_N @ p_N3 / (t_N @ t_N)), axis=1))
