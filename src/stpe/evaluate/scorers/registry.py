"""Every scorer, in the order in which a scorecard lists them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stpe.evaluate.measure import Measure
from stpe.evaluate.scorers import (
    alignment,
    camera,
    captions,
    depth,
    detection,
    events,
    flow,
    geometric_depth,
    masks,
    motion,
    shots,
    tracking,
    trajectory,
    velocity,
)
from stpe.evaluate.truth import Truth
from stpe.evaluate.view import View

#: `score(view, truth)` gives measures, or raises NotScoredError with the reason in a clause.
Scorer = Callable[[View, Truth], list[Measure]]

SCORERS: Mapping[str, Scorer] = {
    "shots": shots.score,
    "detection": detection.score,
    "tracks": tracking.score,
    "masks": masks.score,
    "flow": flow.score,
    "camera": camera.score,
    "trajectory": trajectory.score,
    "motion": motion.score,
    "velocity": velocity.score,
    "events": events.score,
    "depth": depth.score,
    "geometric depth": geometric_depth.score,
    "alignment": alignment.score,
    "captions": captions.score,
}
