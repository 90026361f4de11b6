"""Moving or static: F1 of both classes, against the best threshold on uncompensated motion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stpe.evaluate.matching import need_objects, scenes
from stpe.evaluate.measure import Belief, Measure, NotScoredError, Series
from stpe.evaluate.truth import Truth
from stpe.evaluate.view import View

F64 = NDArray[np.float64]
_THRESHOLDS = 40


@dataclass(frozen=True)
class _Judged:
    """One found object whose motion is known."""

    frame: int
    moves: bool
    said: str
    speed: float
    confidence: float | None


def score(view: View, truth: Truth) -> list[Measure]:
    """Objects that lie on a true one, and scenery where everything that can move is labelled."""
    need_objects(truth)
    view.need("objects", "motion")
    judged = _judged(view, truth)
    decided = [j for j in judged if j.said in ("moving", "static")]
    if not decided:
        raise NotScoredError("no object that was called moving or static is known to be either")
    frames = np.array([j.frame for j in decided], np.int64)
    moves = np.array([j.moves for j in decided])
    said = np.array([j.said == "moving" for j in decided])
    speed = np.array([j.speed for j in decided])
    threshold = _best_threshold(moves, speed)
    blocks = view.blocks
    wrong = said != moves
    index = np.unique(frames)
    series = Series(index, np.array([wrong[frames == i].mean() for i in index]), "share wrong")
    sure = [(j.confidence, (j.said == "moving") == j.moves) for j in decided if j.confidence]
    belief = None
    if sure:
        confidence, right = np.array(sure, np.float64).T
        belief = Belief(confidence, right, "moving or static is right")
    note = f"of objects that were decided; {int(moves.sum())} truly moving"
    if truth.labelled is None:
        note += "; scenery counts as static"
    baseline_name = f"uncompensated flow above {threshold:.0f} px/s, the best of all thresholds"
    every = np.array([j.frame for j in judged], np.int64)
    share = [j.said in ("moving", "static") for j in judged]
    rows = [
        ("macro F1", macro_f1),
        ("F1 of moving", moving_f1),
    ]
    return [
        *(
            Measure(
                "objects.motion",
                name,
                "1",
                "higher",
                len(decided),
                "objects",
                blocks.of_sums(frames, confusion(moves, said), form),
                baseline=blocks.of_sums(frames, confusion(moves, speed > threshold), form),
                baseline_name=baseline_name,
                note=note,
                series=series if name == "macro F1" else None,
                belief=belief if name == "macro F1" else None,
            )
            for name, form in rows
        ),
        Measure(
            "objects.motion",
            "share decided",
            "1",
            "higher",
            len(judged),
            "objects",
            blocks.mean(every, share),
            note="the rest are called unknown",
        ),
    ]


def _judged(view: View, truth: Truth) -> list[_Judged]:
    found = []
    for scene in scenes(view, truth):
        pairs = [
            (bool(true.moving), row) for true, row, _ in scene.pairs() if true.moving is not None
        ]
        for moves, row in (*pairs, *((False, row) for row in scene.scenery)):
            if row["motion"] is not None and row["velocity_px_s"] is not None:
                speed = float(np.hypot(*row["velocity_px_s"]))
                found.append(
                    _Judged(scene.frame, moves, row["motion"], speed, row["motion_confidence"])
                )
    return found


def confusion(moves_N: NDArray[np.bool_], said_N: NDArray[np.bool_]) -> F64:
    """N x 4 indicators: both moving, said only, truly only, both static."""
    parts = (moves_N & said_N, ~moves_N & said_N, moves_N & ~said_N, ~moves_N & ~said_N)
    return np.stack(parts, axis=-1).astype(np.float64)


def moving_f1(sums_4: F64) -> float:
    """F1 of the class moving; NaN where nothing moves or is said to."""
    both, said, true, _ = sums_4
    whole = 2 * both + said + true
    return float(2 * both / whole) if whole > 0 else float("nan")


def macro_f1(sums_4: F64) -> float:
    """Mean F1 of the classes that occur."""
    parts = [moving_f1(sums_4), moving_f1(sums_4[[3, 2, 1, 0]])]
    known = [p for p in parts if np.isfinite(p)]
    return float(np.mean(known)) if known else float("nan")


def _best_threshold(moves_N: NDArray[np.bool_], speed_N: F64) -> float:
    """The speed that separates best on this very truth: the strongest such baseline there is."""
    candidates = np.unique(np.quantile(speed_N, np.linspace(0, 1, _THRESHOLDS)))
    scores = [macro_f1(confusion(moves_N, speed_N > c).sum(axis=0)) for c in candidates]
    return float(candidates[int(np.argmax(scores))])
