"""Calibration: fitted on even episodes, tested on odd ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulated_sets.episodes import Scores
from stpe.calibration import Curve
from stpe.evaluate.calibration import fit
from stpe.evaluate.reliability import reliability

#: Column that holds the confidence of each judged signal.
CONFIDENCES = {
    "objects.box_xyxy": "objects.confidence",
    "objects.track_id": "objects.track_confidence",
    "objects.motion": "objects.motion_confidence",
    "objects.mask_rle": "objects.mask_confidence",
    "motion.camera_rotation_deg": "motion.camera_confidence",
    "frames.camera_rotation_deg": "frames.camera_confidence",
    "motion.flow": "motion.flow_confidence",
    "frames.depth": "frames.depth_confidence",
    "frames.geometric_depth": "frames.geometric_depth_confidence",
}
_LEAST = 100  # pairs in either half
#: Pairs of one signal and simulator that are kept, so that neither simulator outweighs the other.
_MOST = 20000


@dataclass(frozen=True)
class Fitted:
    """One confidence: its curve and expected calibration error on the half not fitted on."""

    signal: str
    right: str
    curve: Curve
    fitted_on: int
    tested_on: int
    before: float
    after: float


def calibrate(found: Sequence[Scores]) -> list[Fitted]:
    """Every confidence with enough truth on both sides."""
    rows = []
    for judged, column in CONFIDENCES.items():
        halves = [_pairs([s for s in found if s.episode.number % 2 == odd], judged)
                  for odd in (0, 1)]  # fmt: skip
        if min(len(confidence) for confidence, _ in halves) < _LEAST:
            continue
        (confidence, correct), (test, outcome) = halves
        curve = fit(confidence, correct)
        right = next(s.beliefs[judged][2] for s in found if judged in s.beliefs)
        rows.append(
            Fitted(
                column,
                right,
                curve,
                len(confidence),
                len(test),
                reliability(test, outcome).ece,
                reliability(curve.apply(test), outcome).ece,
            )
        )
    return rows


def _pairs(found: Sequence[Scores], judged: str) -> tuple[np.ndarray, np.ndarray]:
    """Raw confidence and outcome, each simulator to the same most."""
    random = np.random.default_rng(0)
    parts = []
    for simulator in sorted({s.episode.simulator for s in found}):
        mine = [s.beliefs[judged] for s in found
                if s.episode.simulator == simulator and judged in s.beliefs]  # fmt: skip
        if mine:
            pairs = np.stack([np.concatenate([b[i] for b in mine]) for i in (0, 1)])
            parts.append(pairs[:, random.permutation(pairs.shape[1])[:_MOST]])
    whole = np.concatenate(parts, axis=1) if parts else np.zeros((2, 0))
    return whole[0], whole[1]
