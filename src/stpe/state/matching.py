"""The row of each frame, and by how much the log's clock is off, once the match is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stpe.state.claim import Claim, Method
from stpe.state.estimate import Estimate
from stpe.state.log import StateLog

F64 = NDArray[np.float64]


def matched(
    claim: Claim, found: Estimate | None, times: F64, tolerance: float
) -> NDArray[np.int64]:
    """The row nearest to each frame within the tolerance, -1 without one; by the log's own claim,
    or by what was found."""
    wanted = times
    if found is not None:
        wanted = times + found.lag_s + found.drift * (times - found.middle_s)
    usable = np.flatnonzero(np.isfinite(claim.times_N))
    order = usable[np.argsort(claim.times_N[usable], kind="stable")]
    clock = claim.times_N[order]
    # Of rows with one time, such as two of one frame number, the first is taken.
    clock, first = np.unique(clock, return_index=True)
    right = np.clip(np.searchsorted(clock, wanted), 1, max(len(clock) - 1, 1))
    right = np.minimum(right, len(clock) - 1)
    left = np.maximum(right - 1, 0)
    nearest = np.where(np.abs(clock[left] - wanted) <= np.abs(clock[right] - wanted), left, right)
    fits = np.abs(clock[nearest] - wanted) <= tolerance + 1e-9
    return np.where(fits, order[first[nearest]], -1)


def numbers(
    log: StateLog, claim: Claim, found: Estimate | None, times: F64, method: Method | None
) -> tuple[float | None, float | None, tuple[float, float] | None]:
    """lag_ms, drift_ppm and interval_ms, as `Certificate` has them."""
    if method == "frame" and claim.holds and log.clock in ("relative", "unix"):
        # Frame numbers say which moment is which, so the clocks can be compared row by row.
        clock = np.array([r.time for r in log.rows], np.float64)
        clock -= clock[0] if log.clock == "unix" else 0.0
        middle = (times[0] + times[-1]) / 2
        place, late = claim.times_N - middle, clock - claim.times_N
        slope = _slope(place, late)
        lag = float(np.median(late - slope * place))
        rest = late - slope * place - lag
        half = 1.96 * 1.4826 * float(np.median(np.abs(rest))) / max(len(rest) ** 0.5, 1.0)
        return _ms(lag), round(1e6 * slope, 1), (_ms(lag - half), _ms(lag + half))
    if found is not None:
        low, high = found.lag_s - found.half_interval_s, found.lag_s + found.half_interval_s
        return _ms(found.lag_s), round(1e6 * found.drift, 1), (_ms(low), _ms(high))
    return (0.0, 0.0, None) if claim.holds else (None, None, None)


def _slope(x: F64, y: F64) -> float:
    """Theil-Sen between rows half the log apart, which needs no pair of every two."""
    half = len(x) // 2
    if half < 5:
        return 0.0
    run = x[half : 2 * half] - x[:half]
    rise = y[half : 2 * half] - y[:half]
    good = run > 0
    return float(np.median(rise[good] / run[good])) if good.any() else 0.0


def _ms(seconds: float) -> float:
    return round(1e3 * seconds, 2)
