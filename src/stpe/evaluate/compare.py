"""Two scorecards of the same video: where the second is better or worse by more than chance.

The replicates of both cards were made with the same draws of the same blocks of time, so their
differences are paired: what makes a stretch of video hard counts on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from stpe.errors import UsageError
from stpe.evaluate.scorecard import Row, Scorecard, interval, plain

Verdict = Literal["better", "worse", "same", "lost", "new", "unknown"]


@dataclass(frozen=True)
class Difference:
    """One metric in two cards.

    Attributes:
        difference: B - A. interval: its 95 % interval; None where a card has no replicates.
        verdict: whether B is better or worse by more than the interval; `same` if it is not;
            `lost` or `new` if only A or only B has it; `unknown` if they differ and
            there is no interval.
    """

    name: str
    unit: str
    better: str
    a: float | None
    b: float | None
    difference: float | None
    interval: tuple[float, float] | None
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    """All differences; `worse` if B is significantly worse, or lost a metric, anywhere."""

    video_id: str
    differences: tuple[Difference, ...]
    worse: bool


def compare(a: Scorecard, b: Scorecard) -> Comparison:
    """B against A.

    Raises:
        UsageError: the cards are about different videos, or scored against different truth.
    """
    if (a.video_id, a.blocks) != (b.video_id, b.blocks):
        raise UsageError(
            f"the scorecards are about different videos ({a.video_id}, {b.video_id}): "
            "compare two datasets of one video"
        )
    if a.truth_kind != b.truth_kind:
        raise UsageError(
            f"the scorecards were made with different truth ({a.truth_kind}, {b.truth_kind})"
        )
    names = list(dict.fromkeys(row.name for card in (a, b) for row in card.rows))
    found = tuple(_difference(name, a.row(name), b.row(name)) for name in names)
    return Comparison(a.video_id, found, any(d.verdict in ("worse", "lost") for d in found))


def _difference(name: str, a: Row | None, b: Row | None) -> Difference:
    if a is None or b is None or a.value is None or b.value is None:
        there = b if a is None or a.value is None else a
        assert there is not None
        verdict: Verdict = "new" if there is b else "lost"
        if there.value is None:
            verdict = "unknown"
        return Difference(
            name,
            there.unit,
            there.better,
            None if a is None else a.value,
            None if b is None else b.value,
            None,
            None,
            verdict,
        )
    gap = _paired(a, b)
    difference = plain(b.value - a.value)
    verdict = "same" if difference == 0 else "unknown"
    if gap is not None:
        sign = 1 if a.better == "higher" else -1
        low, high = sorted(sign * end for end in gap)
        verdict = "better" if low > 0 else "worse" if high < 0 else "same"
    return Difference(name, a.unit, a.better, a.value, b.value, difference, gap, verdict)


def _paired(a: Row, b: Row) -> tuple[float, float] | None:
    if not a.draws or len(a.draws) != len(b.draws):
        return None
    draws = [np.array([np.nan if d is None else d for d in row.draws]) for row in (a, b)]
    return interval(draws[1] - draws[0])
