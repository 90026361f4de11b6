"""The unit of a path that is known up to scale, from the same path in a known unit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

#: Steps to either side that speak for one: scale drifts, but slowly.
_AROUND = 8
_LEAST_STEPS = 4
#: Relative deviation of the steps' ratios beyond which the two paths are not the same.
_MOST_SPREAD = 0.5


def step_scales(travel_N: F64, known_N: F64) -> F64:
    """For each step the known unit's lengths in one of ours; NaN for all where it cannot be told.

    Args:
        travel_N: length of each step in our unit. known_N: in the known one, NaN where unknown.
    """
    nothing = np.full(len(travel_N), np.nan)
    long_enough = 0.1 * np.nanmax(travel_N, initial=0.0)
    usable = np.flatnonzero(
        np.isfinite(known_N) & np.isfinite(travel_N) & (travel_N > long_enough) & (known_N > 0)
    )
    if len(usable) < _LEAST_STEPS:
        return nothing
    ratio = np.log(known_N[usable] / travel_N[usable])
    if 1.4826 * float(np.median(np.abs(ratio - np.median(ratio)))) > _MOST_SPREAD:
        return nothing
    middle = [
        float(np.median(ratio[max(0, i - _AROUND) : i + _AROUND + 1])) for i in range(len(usable))
    ]
    return np.exp(np.interp(np.arange(len(travel_N)), usable, middle))
