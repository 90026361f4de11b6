"""Camera motion over each interval: error of rotation and of translation direction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stpe.evaluate.measure import Belief, Measure, NotScoredError, Series
from stpe.evaluate.trajectory import rotation_angle_deg
from stpe.evaluate.truth import Truth
from stpe.evaluate.view import View
from stpe.geometry.rotation import matrix_of

F64 = NDArray[np.float64]

#: A rotation is right within this and a tenth of what it truly is.
RIGHT_DEG, RIGHT_SHARE = 0.25, 0.1
#: Translation has a direction from this length: metres, or a share of the median step.
LEAST_M, LEAST_SHARE = 0.01, 0.2
_COLUMNS = ("camera_rotation_deg", "camera_translation", "camera_confidence")


@dataclass(frozen=True)
class _Step:
    """Between two frames: what was found (None where nothing was) and what is true."""

    frame: int
    rotation_deg: list[float] | None
    direction: list[float] | None
    confidence: float | None
    truth_44: F64


def score(view: View, truth: Truth) -> list[Measure]:
    """Short intervals (`motion`) and analysis intervals (`frames`)."""
    if "camera" not in truth.parts():
        raise NotScoredError("the truth has no camera poses")
    measures = []
    for table in ("motion", "frames"):
        if view.known(table, "camera_rotation_deg"):
            steps = list(_steps(view, truth, table))
            measures += _rotation(view, table, steps)
            measures += _direction(view, truth, table, steps)
    if not measures:
        raise NotScoredError("the dataset has no camera motion over an interval with true poses")
    return measures


def _steps(view: View, truth: Truth, table: str) -> Iterable[_Step]:
    if table == "motion":
        rows = view.rows(table, ("frame_index", "previous_frame_index", *_COLUMNS))
        pairs = [(row["previous_frame_index"], row) for row in rows]
    else:
        rows = view.rows(table, ("frame_index", *_COLUMNS))
        pairs = [(a["frame_index"], b) for a, b in pairwise(rows)]
    for first, row in pairs:
        step = truth.camera_step(first, row["frame_index"]) if first is not None else None
        if step is not None:
            yield _step(row, step)


def _step(row: dict[str, Any], truth_44: F64) -> _Step:
    rotation, direction, confidence = (row[name] for name in _COLUMNS)
    return _Step(row["frame_index"], rotation, direction, confidence, truth_44)


def _rotation(view: View, table: str, steps: Sequence[_Step]) -> list[Measure]:
    known = [s for s in steps if s.rotation_deg is not None]
    if not known:
        return []
    frames = np.array([s.frame for s in known], np.int64)
    true = np.stack([s.truth_44[:3, :3] for s in known])
    turns = np.stack([matrix_of(np.radians(np.array(s.rotation_deg))) for s in known])
    error = rotation_angle_deg(turns.transpose(0, 2, 1) @ true)
    still = rotation_angle_deg(true)
    right = error <= RIGHT_DEG + RIGHT_SHARE * still
    sure = [
        (s.confidence, r) for s, r in zip(known, right, strict=True) if s.confidence is not None
    ]
    belief = None
    if sure:
        confidence, correct = np.array(sure, np.float64).T
        belief = Belief(
            np.clip(confidence, 0, 1),
            correct,
            f"rotation off by at most {RIGHT_DEG:g} deg plus {RIGHT_SHARE:.0%}",
        )
    note = "" if len(known) == len(steps) else f"{len(steps) - len(known)} more have no rotation"
    blocks = view.blocks
    median = Measure(
        f"{table}.camera_rotation_deg",
        "rotation error, median",
        "deg",
        "lower",
        len(known),
        "intervals",
        blocks.median(frames, error),
        baseline=blocks.median(frames, still),
        baseline_name="static camera",
        note=note,
        series=Series(frames, error, "deg"),
        belief=belief,
    )
    mean = replace(
        median,
        metric="rotation error, mean",
        figure=blocks.mean(frames, error),
        baseline=blocks.mean(frames, still),
        series=None,
        belief=None,
    )
    return [median, mean]


def _direction(view: View, truth: Truth, table: str, steps: Sequence[_Step]) -> list[Measure]:
    lengths = np.array([np.linalg.norm(s.truth_44[:3, 3]) for s in steps])
    least = LEAST_M if truth.metric else LEAST_SHARE * float(np.median(lengths)) if steps else 0.0
    moved = [s for s, length in zip(steps, lengths, strict=True) if length > least]
    known = [s for s in moved if s.direction is not None]
    if not known:
        return []
    frames = np.array([s.frame for s in known], np.int64)
    true = np.stack([s.truth_44[:3, 3] / np.linalg.norm(s.truth_44[:3, 3]) for s in known])
    found = np.array([s.direction for s in known], np.float64)
    found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
    ahead = np.degrees(np.arccos(np.clip(true[:, 2], -1, 1)))
    error = np.degrees(np.arccos(np.clip((found * true).sum(axis=1), -1, 1)))
    missing = len(moved) - len(known)
    return [
        Measure(
            f"{table}.camera_translation",
            "direction error, median",
            "deg",
            "lower",
            len(known),
            "intervals",
            view.blocks.median(frames, error),
            baseline=view.blocks.median(frames, ahead),
            baseline_name="straight ahead",
            note=f"{missing} more have no direction" if missing else "",
            series=Series(frames, error, "deg"),
        )
    ]
