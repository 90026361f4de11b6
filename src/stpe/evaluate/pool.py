"""Scorecards of several videos as one table: the mean over videos, its spread between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stpe.evaluate.measure import Better
from stpe.evaluate.scorecard import DRAWS, SEED, Row, Scorecard, interval, plain


@dataclass(frozen=True)
class Pooled:
    """One metric over videos.

    Attributes:
        value: mean over the videos that have it. interval: 95 %, by resampling whole videos.
        baseline, gain, gain_interval: as in `Row`, over the videos that have both.
        videos: how many have it. n: samples of all of them.
    """

    signal: str
    metric: str
    unit: str
    better: Better
    value: float
    interval: tuple[float, float] | None
    baseline: float | None
    baseline_name: str
    gain: float | None
    gain_interval: tuple[float, float] | None
    videos: int
    n: int


def pool(cards: Sequence[Scorecard]) -> list[Pooled]:
    """Every metric that any card has, in the order of the cards. Each video counts the same."""
    names = dict.fromkeys(row.name for card in cards for row in card.rows)
    found = []
    for name in names:
        rows = [row for card in cards if (row := card.row(name)) is not None]
        known = [row for row in rows if row.value is not None]
        if known:
            found.append(_pooled(known))
    return found


def _pooled(rows: Sequence[Row]) -> Pooled:
    first = rows[0]
    values = np.array([row.value for row in rows], np.float64)
    both = [row for row in rows if row.baseline is not None and row.baseline_gain is not None]
    baselines = np.array([row.baseline for row in both], np.float64)
    gains = np.array([row.baseline_gain for row in both], np.float64)
    return Pooled(
        first.signal,
        first.metric,
        first.unit,
        first.better,
        float(values.mean()),
        _spread(values),
        plain(float(baselines.mean())) if both else None,
        first.baseline_name,
        plain(float(gains.mean())) if both else None,
        _spread(gains),
        len(rows),
        sum(row.n for row in rows),
    )


def _spread(values_V: NDArray[np.float64]) -> tuple[float, float] | None:
    if len(values_V) < 3:
        return None
    random = np.random.default_rng([SEED, len(values_V)])
    drawn = random.integers(0, len(values_V), (10 * DRAWS, len(values_V)))
    return interval(values_V[drawn].mean(axis=1))
