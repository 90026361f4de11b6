"""Isotonic calibration: how often a signal is right, as a rising function of its confidence.

Source: Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass probability
estimates", KDD 2002; pool-adjacent-violators after Ayer et al. 1955.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stpe.calibration import Curve

F64 = NDArray[np.float64]

#: Before they are pooled, pairs are gathered in so many groups of equal size: a group of one pair
#: would claim 0 or 1.
_GROUPS = 60
_LEAST = 25
#: Half a right and half a wrong pair are added to every group: certainty is never learnt.
_PRIOR = 0.5
#: At no confidence the curve is this much of its first knot: nothing is known of what lies between,
#: but it keeps its order.
_BELOW = 0.9


def fit(confidence_N: F64, correct_N: F64) -> Curve:
    """The rising curve that fits best in the mean square; it falls by a tenth below its first knot.

    Args:
        confidence_N: in 0..1; pairs with a NaN are left out.
        correct_N: bool, or a degree of correctness in 0..1.

    Raises:
        ValueError: fewer than 25 pairs.

    >>> sure = np.repeat([0.2, 0.9], 100)
    >>> right = np.tile([1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], 20)
    >>> round(float(fit(sure, right).apply(np.array([0.5]))[0]), 1)
    0.1
    """
    known = np.isfinite(confidence_N) & np.isfinite(correct_N)
    confidence, correct = confidence_N[known], correct_N[known]
    if len(confidence) < _LEAST:
        raise ValueError(f"{len(confidence)} pairs are too few to fit a calibration")
    order = np.argsort(confidence, kind="stable")
    groups = np.array_split(order, max(1, min(_GROUPS, len(order) // _LEAST)))
    place = np.array([confidence[g].mean() for g in groups])
    weight = np.array([len(g) for g in groups], np.float64)
    value = np.array([(correct[g].sum() + _PRIOR) / (len(g) + 2 * _PRIOR) for g in groups])
    places, values = _pooled(place, value, weight)
    if places[0] > 0:
        places, values = (0.0, *places), (round(_BELOW * values[0], 4), *values)
    return Curve(places, values)


def _pooled(place_N: F64, value_N: F64, weight_N: F64) -> tuple[tuple[float, ...], ...]:
    """Places and values after pooling adjacent violators, one knot a pool."""
    pools: list[list[float]] = []  # weight, weighted value, weighted place
    for place, value, weight in zip(place_N, value_N, weight_N, strict=True):
        pools.append([weight, weight * value, weight * place])
        while len(pools) > 1 and (_sinks(pools) or _place(pools[-1]) == _place(pools[-2])):
            last = pools.pop()
            pools[-1] = [a + b for a, b in zip(pools[-1], last, strict=True)]
    places = tuple(_place(p) for p in pools)
    values = tuple(round(float(p[1] / p[0]), 4) for p in pools)
    return places, values


def _sinks(pools: list[list[float]]) -> bool:
    """Whether the last pool's value is no higher than the one before it."""
    (weight_a, value_a, _), (weight_b, value_b, _) = pools[-2:]
    return value_a * weight_b >= value_b * weight_a


def _place(pool: list[float]) -> float:
    return round(float(pool[2] / pool[0]), 4)
