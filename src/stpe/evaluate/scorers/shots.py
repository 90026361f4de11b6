"""Changes of shot: F1 with its parts."""

from __future__ import annotations

import numpy as np

from stpe.evaluate.measure import Belief, Measure, NotScoredError, divide
from stpe.evaluate.shots import Transition, match_shots
from stpe.evaluate.truth import Truth
from stpe.evaluate.view import View


def score(view: View, truth: Truth) -> list[Measure]:
    """Begins of shots against true transitions, within two frames."""
    if truth.transitions is None:
        raise NotScoredError("the truth has no changes of shot")
    view.need("shots", "start_frame")
    rows = view.rows("shots", ("start_frame", "transition", "confidence"))
    starts = [row for row in rows if row["transition"] != "start"]
    found = [Transition(row["start_frame"], row["start_frame"]) for row in starts]
    if not found and not truth.transitions:
        raise NotScoredError("there is no change of shot, and none was found")
    pairs = match_shots(truth.transitions, found)
    hit_true, hit_found = {id(t) for t, _ in pairs}, {p for _, p in pairs}
    frames, counts = [], []
    for item in truth.transitions:
        right = id(item) in hit_true
        frames.append(item.first)
        counts.append([right, 0, not right])
    for item in found:
        frames.append(item.first)
        counts.append([0, item not in hit_found, 0])
    parts = np.array(counts, np.float64)
    blocks, n = view.blocks, len(truth.transitions)
    belief = None
    sure = [row["confidence"] for row in starts]
    if sure and None not in sure:
        right_N = np.array([item in hit_found for item in found], np.float64)
        belief = Belief(np.array(sure, np.float64), right_N, "a shot truly begins here")
    return [
        Measure(
            "shots.start_frame",
            "F1",
            "1",
            "higher",
            n,
            "true transitions",
            blocks.f1(frames, parts),
            belief=belief,
        ),
        Measure(
            "shots.start_frame",
            "precision",
            "1",
            "higher",
            len(found),
            "found transitions",
            blocks.of_sums(frames, parts, lambda s: divide(s[0], s[0] + s[1])),
        ),
        Measure(
            "shots.start_frame",
            "recall",
            "1",
            "higher",
            n,
            "true transitions",
            blocks.of_sums(frames, parts, lambda s: divide(s[0], s[0] + s[2])),
        ),
    ]
