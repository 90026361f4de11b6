"""Shot boundaries: precision, recall and F1 (TRECVID shot-boundary convention)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of shot between frames `first` and `last`; equal for a cut, where the new shot
    begins at that frame."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class ShotScore:
    """F1 with its parts, in 0..1; `n` true transitions."""

    f1: float
    precision: float
    recall: float
    n: int


def match_shots(
    truth: Sequence[Transition], predicted: Sequence[Transition], tolerance: int = 2
) -> list[tuple[Transition, Transition]]:
    """Pairs (true, predicted) in time order, each used once, where the spans widened by
    `tolerance` frames touch."""
    pending = sorted(predicted, key=lambda p: (p.first, p.last))
    pairs = []
    for true in sorted(truth, key=lambda t: (t.first, t.last)):
        match = next(
            (
                p
                for p in pending
                if p.first <= true.last + tolerance and true.first <= p.last + tolerance
            ),
            None,
        )
        if match is not None:
            pending.remove(match)
            pairs.append((true, match))
    return pairs


def score_shots(
    truth: Sequence[Transition], predicted: Sequence[Transition], tolerance: int = 2
) -> ShotScore:
    """The score of `match_shots`. Where neither side has a transition, all figures are 1."""
    hits = len(match_shots(truth, predicted, tolerance))
    if not truth and not predicted:
        return ShotScore(1.0, 1.0, 1.0, 0)
    precision = hits / len(predicted) if predicted else 0.0
    recall = hits / len(truth) if truth else 0.0
    f1 = 2 * hits / (len(predicted) + len(truth))
    return ShotScore(f1, precision, recall, len(truth))
