"""The lag between two accounts of the same motion, by robust normalised cross-correlation.

For each lag, what the log says the camera turned in each interval of the video is correlated with
what the video shows; both are clipped at a high percentile, so that a few wrong intervals do not
decide. The sign of the correlation is free: logs differ in which way is positive. The peak is
placed between grid lags by a parabola. Windows of a few seconds are then asked on their own:
they must agree, and a robust line (Theil-Sen) through their lags gives the drift.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from stpe.state.motion import Curve, VideoMotion

F64 = NDArray[np.float64]

#: Lags searched, at least; a longer log is searched as far as it covers half the video.
SEARCH_S = 3.0
COARSE_S, FINE_S = 0.025, 0.005
#: Least intervals of known motion, and the least share of them that a lag must cover.
LEAST, LEAST_SHARE = 40, 0.5
#: Share of intervals whose motion is clipped to the percentile below.
CLIP_PERCENTILE = 97.0
#: Least correlation of a peak, how far below it any other must stay, and its least Fisher z.
LEAST_R, LEAST_MARGIN, LEAST_Z = 0.5, 0.12, 6.0
#: Fisher z, and share of the best correlation, at the lag a log claims from which motion no
#: longer speaks against the claim.
HINT_Z, HINT_SHARE = 4.0, 0.8
WINDOW_S, MOST_WINDOWS = 5.0, 60
#: Windows whose own peak is this clear must agree with the rest.
CLEAR_R, CLEAR_MARGIN = 0.75, 0.2
LEAST_AGREEMENT = 0.75


@dataclass(frozen=True)
class Estimate:
    """A lag that was measured. `lag_s` is log time minus video time at `middle_s` of the video.

    Attributes:
        drift: seconds a second; 0 where it is not told from none.
        half_interval_s: half of the 95 % interval of the lag.
        r: correlation at the peak. agreement: share of windows that agree.
        curve: the field of the log.
    """

    lag_s: float
    drift: float
    middle_s: float
    half_interval_s: float
    r: float
    agreement: float
    curve: str


@dataclass(frozen=True)
class NoEstimate:
    """Why there is none. `contradicts`: both move, and not together."""

    reason: str
    contradicts: bool = False


@dataclass(frozen=True)
class _Peak:
    lag: float
    r: float
    margin: float
    curvature: float
    sign: float


def estimate(
    video: VideoMotion, found: list[Curve], tolerance_s: float
) -> tuple[Estimate | None, NoEstimate | None]:
    """The lag by the curve that correlates best, or why none can be measured."""
    if len(video.ends_N) < LEAST:
        return None, NoEstimate("the video shows the camera's rotation in too few intervals")
    if not found:
        return None, NoEstimate("the log has no field that tells how the view turns")
    refused = NoEstimate("neither the view in the log nor the camera in the video turns enough")
    best: Estimate | None = None
    for curve in found:
        seen = video.yaw_N if curve.axis == "yaw" else video.pitch_N
        if not _varies(seen):
            continue
        answer = _by_curve(video, seen, curve, tolerance_s)
        if isinstance(answer, NoEstimate):
            if answer.contradicts or not refused.contradicts:
                refused = answer
        elif best is None or answer.r > best.r:
            best = answer
    return (best, None) if best is not None else (None, refused)


def _varies(seen_N: F64) -> bool:
    """Whether a series of rotations is more than noise about standing still."""
    return float(np.percentile(np.abs(seen_N), 90)) > 0.2


def _by_curve(
    video: VideoMotion, seen: F64, curve: Curve, tolerance_s: float
) -> Estimate | NoEstimate:
    reach = SEARCH_S
    first, last = video.starts_N[0], video.ends_N[-1]
    half = LEAST_SHARE * (last - first)
    reach = max(reach, curve.times_N[-1] - last + half, first - curve.times_N[0] + half)
    lags = np.arange(-reach, reach + COARSE_S, COARSE_S)
    data = _Data(video.starts_N, video.ends_N, seen, curve)
    peak = _peak(data, lags)
    if peak is None:
        return NoEstimate(f"{curve.name} covers too little of the video, or does not change")
    count = _effective(data, peak.lag)
    z = math.atanh(min(peak.r, 0.9999)) * math.sqrt(max(count - 3, 0.0))
    said = f"{curve.name}: best correlation {peak.r:.2f} at {peak.lag:+.2f} s"
    if peak.r < LEAST_R or z < LEAST_Z:
        apart = curve.view and _apart(data, peak, tolerance_s)
        return NoEstimate(f"the motion in the log is not the video's ({said})", apart)
    if peak.margin < LEAST_MARGIN:
        return NoEstimate(f"the motion fits at several lags alike ({said})")
    return _line(data, peak, lags, count, tolerance_s, said)


def _apart(data: _Data, peak: _Peak, tolerance_s: float) -> bool:
    """Whether the motion speaks against the lag that the log claims, which is none."""
    near = np.abs([_correlation(data, lag) for lag in (-tolerance_s, 0.0, tolerance_s)])
    r = float(np.nan_to_num(near).max())
    z = math.atanh(min(r, 0.9999)) * math.sqrt(max(_effective(data, 0.0) - 3, 0.0))
    return z < HINT_Z or r < HINT_SHARE * peak.r


class _Data:
    """The intervals of the video, what was seen in each, and the log's curve."""

    def __init__(self, starts: F64, ends: F64, seen: F64, curve: Curve) -> None:
        self.starts, self.ends, self.curve = starts, ends, curve
        self.seen = _clipped(seen)

    def part(self, first: int, end: int) -> _Data:
        part = object.__new__(_Data)
        part.starts, part.ends = self.starts[first:end], self.ends[first:end]
        part.seen, part.curve = self.seen[first:end], self.curve
        return part

    def told(self, lag: float) -> tuple[NDArray[np.bool_], F64]:
        """Which intervals the log covers at a lag, and how much it says was turned in those."""
        times, values = self.curve.times_N, self.curve.values_N
        inside = (self.starts + lag >= times[0]) & (self.ends + lag <= times[-1])
        a, b = self.starts[inside] + lag, self.ends[inside] + lag
        return inside, _clipped(np.interp(b, times, values) - np.interp(a, times, values))


def _clipped(values: F64) -> F64:
    if not len(values):
        return values
    moved = np.abs(values)
    limit = np.percentile(moved, CLIP_PERCENTILE)
    return np.clip(values, -limit, limit) if limit > 0 else values


def _correlation(data: _Data, lag: float) -> float:
    """Pearson's r; NaN where the log covers too little or one side does not change."""
    inside, told = data.told(lag)
    if len(told) < max(8, LEAST_SHARE * len(inside)):
        return math.nan
    seen = data.seen[inside]
    a, b = seen - seen.mean(), told - told.mean()
    norm = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / norm if norm > 1e-9 else math.nan


def _peak(data: _Data, lags: F64) -> _Peak | None:
    r = np.abs([_correlation(data, lag) for lag in lags])
    if np.isnan(r).all():
        return None
    r = np.nan_to_num(r)
    top = int(r.argmax())
    # The main lobe ends where the correlation has fallen to half, or rises again.
    low, high = top, top
    while low > 0 and r[low] > r[top] / 2:
        low -= 1
    while high < len(r) - 1 and r[high] > r[top] / 2:
        high += 1
    others = np.concatenate([r[:low], r[high + 1 :]])
    margin = float(r[top] - others.max()) if len(others) else float(r[top])
    sign = math.copysign(1.0, _correlation(data, lags[top]))
    fine = lags[top] + np.arange(-COARSE_S * 1.5, COARSE_S * 1.5 + FINE_S, FINE_S)
    lag, best, curvature = _refined(data, fine, sign)
    return _Peak(lag, best, margin, curvature, sign)


def _refined(data: _Data, lags: F64, sign: float) -> tuple[float, float, float]:
    """Peak position, height and second derivative, by a parabola fitted over its neighbours."""
    r = np.nan_to_num([sign * _correlation(data, lag) for lag in lags], nan=-1.0)
    top = int(np.clip(r.argmax(), 4, len(r) - 5))
    near = slice(top - 4, top + 5)
    a, b, c = np.polyfit(lags[near] - lags[top], r[near], 2)
    if a >= 0:
        return float(lags[top]), float(r[top]), 0.0
    shift = float(np.clip(-b / (2 * a), -4 * FINE_S, 4 * FINE_S))
    return float(lags[top] + shift), float(c - b * b / (4 * a)), float(-2 * a)


def _effective(data: _Data, lag: float) -> float:
    """Independent intervals of two correlated series (Bartlett's formula)."""
    inside, told = data.told(lag)
    a, b = data.seen[inside], told
    total, n = 1.0, len(a)
    for k in range(1, min(n // 4, 50)):
        ra, rb = _auto(a, k), _auto(b, k)
        if ra <= 0 or rb <= 0:
            break
        total += 2 * ra * rb
    return n / total


def _auto(values: F64, k: int) -> float:
    centred = values - values.mean()
    norm = float(centred @ centred)
    return float(centred[:-k] @ centred[k:]) / norm if norm > 0 else 0.0


def _line(
    data: _Data, peak: _Peak, lags: F64, count: float, tolerance_s: float, said: str
) -> Estimate | NoEstimate:
    duration = float(data.ends[-1] - data.starts[0])
    number = int(np.clip(duration // WINDOW_S, 2, MOST_WINDOWS))
    borders = np.linspace(data.starts[0], data.ends[-1], number + 1)
    at, found, clear = [], [], []
    for a, b in pairwise(borders):
        part = data.part(*np.searchsorted(data.ends, (a, b)))
        if len(part.ends) < 16 or not _varies(part.seen):
            continue
        own = _peak(part, lags)
        if own is None or own.r < LEAST_R or own.margin < LEAST_MARGIN:
            continue
        at.append(float(part.ends.mean()))
        found.append(own.lag)
        clear.append(own.r >= CLEAR_R and own.margin >= CLEAR_MARGIN and own.sign == peak.sign)
    if not found:
        if peak.r < CLEAR_R or peak.margin < CLEAR_MARGIN:
            return NoEstimate(f"no part of the video confirms the lag alone ({said})")
        at, found, clear = [duration / 2], [peak.lag], [True]
    places, values = np.array(at), np.array(found)
    good = np.abs(values - peak.lag) <= max(tolerance_s, 0.001 * duration)
    agreement = float(good.mean())
    odd = np.flatnonzero(~good & np.array(clear))
    if len(odd):
        where, lag = places[odd[0]], values[odd[0]]
        return NoEstimate(
            f"the lag is {peak.lag:+.2f} s in most of the video and {lag:+.2f} s around "
            f"{where:.0f} s: the clocks do not run together", True
        )  # fmt: skip
    if agreement < LEAST_AGREEMENT:
        apart = data.curve.view and _apart(data, peak, tolerance_s)
        return NoEstimate(f"parts of the video disagree on the lag ({said})", apart)
    middle = float((data.starts[0] + data.ends[-1]) / 2)
    places, values = places[good] - middle, values[good]
    drift = _drift(places, values)
    spread = values - drift * places
    error = 1 / math.sqrt(max(peak.curvature * count * peak.r / max(1 - peak.r**2, 1e-3), 1e-6))
    if len(values) >= 3:
        mad = 1.4826 * float(np.median(np.abs(spread - np.median(spread))))
        error = max(error, 1.25 * mad / math.sqrt(len(values)))
    lag = peak.lag
    interval = max(1.96 * error, 0.001)
    return Estimate(lag, drift, middle, interval, peak.r, agreement, data.curve.name)


def _drift(places: F64, values: F64) -> float:
    """Median slope of all pairs, where it stands out from its own scatter; else 0."""
    if len(values) < 5:
        return 0.0
    pairs = [(i, j) for i, j in combinations(range(len(values)), 2) if places[j] > places[i]]
    slope = float(np.median([(values[j] - values[i]) / (places[j] - places[i]) for i, j in pairs]))
    rest = values - slope * places
    scatter = 1.4826 * float(np.median(np.abs(rest - np.median(rest))))
    error = scatter / (math.sqrt(len(values)) * float(places.std()))
    return slope if abs(slope) > 2.5 * error else 0.0
