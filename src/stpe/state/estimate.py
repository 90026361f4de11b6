"""The lag between two accounts of the same motion, by robust normalised cross-correlation.

For each lag, what the log says the camera turned in each interval of the video is correlated with
what the video shows; both are clipped at a high percentile, so that a few wrong intervals do not
decide. The sign of the correlation is free: logs differ in which way is positive. All lags are
looked at together (masked normalised cross-correlation, Padfield, IEEE TIP 2012); near the best,
the log is read at the video's own moments and the peak placed by a parabola. Windows of a few
seconds are then asked on their own: they must agree, and a robust line (Theil-Sen) through their
lags gives the drift.
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
#: Least seconds of known motion, in all and in a window, and the least share of it that a lag must
#: cover.
LEAST_S, LEAST_WINDOW_S, LEAST_SHARE = 4.0, 1.6, 0.5
#: Share of intervals whose motion is clipped to the percentile below.
CLIP_PERCENTILE = 97.0
#: Least correlation of a peak, how far below it any other must stay, and its least Fisher z.
LEAST_R, LEAST_MARGIN, LEAST_Z = 0.5, 0.12, 6.0
#: Correlation that logs of other episodes do not come near (0.73 of 300 pairs), and its least z.
SURE_R, SURE_Z = 0.85, 4.0
#: Fisher z, and share of the best correlation, at the lag a log claims from which motion no
#: longer speaks against the claim.
HINT_Z, HINT_SHARE = 4.0, 0.8
#: Deviation of a turning rate, over its root mean square, from which it says when it happened.
LEAST_CHANGE = 0.35
WINDOW_S, MOST_WINDOWS = 5.0, 60
#: Turning of which the fastest tenth must be, degrees a second.
LEAST_TURN_DEG_S = 2.0
#: Windows whose own peak is this clear must agree with the rest.
CLEAR_R, CLEAR_MARGIN = 0.75, 0.2
LEAST_AGREEMENT = 0.75
#: Share of the video, as far as the log goes, from the first to the last window that agrees: a
#: clock that is set, or runs fast, shows nowhere else.
LEAST_SPANNED = 0.5
#: Share of a window that the log must cover for the window to be asked.
LEAST_INSIDE = 0.9


@dataclass(frozen=True)
class Estimate:
    """A lag that was measured. `lag_s` is log time minus video time at `middle_s` of the video.

    Attributes:
        drift: seconds a second; 0 where it is not told from none.
        half_interval_s: half of the 95 % interval of the lag.
        r: correlation at the peak. agreement: share of windows that agree.
        curve: the field of the log. notes: what its size shows of its unit.
        seen_at: seconds of the video, the middles of the windows that agree.
    """

    lag_s: float
    drift: float
    middle_s: float
    half_interval_s: float
    r: float
    agreement: float
    curve: str
    notes: tuple[str, ...] = ()
    seen_at: tuple[float, ...] = ()


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
    if _seconds(video.starts_N) < LEAST_S:
        return None, NoEstimate("the video shows the camera's rotation in too few intervals")
    if not found:
        return None, NoEstimate("the log has no field that tells how the view turns")
    refused = NoEstimate("neither the view in the log nor the camera in the video turns enough")
    best: Estimate | None = None
    for curve in found:
        seen = video.yaw_N if curve.axis == "yaw" else video.pitch_N
        if not _varies(seen, video.ends_N - video.starts_N):
            continue
        answer = _by_curve(video, seen, curve, tolerance_s)
        if isinstance(answer, NoEstimate):
            if answer.contradicts or not refused.contradicts:
                refused = answer
        elif best is None or answer.r > best.r:
            best = answer
    return (best, None) if best is not None else (None, refused)


def _varies(seen_N: F64, spans_N: F64) -> bool:
    """Whether a series of rotations is more than noise about standing still."""
    return float(np.percentile(np.abs(seen_N) / spans_N, 90)) > LEAST_TURN_DEG_S


def _seconds(starts_N: F64) -> float:
    """About how long a series of intervals is that begin regularly, gaps left out."""
    return len(starts_N) * float(np.median(np.diff(starts_N))) if len(starts_N) > 1 else 0.0


def _by_curve(
    video: VideoMotion, seen: F64, curve: Curve, tolerance_s: float
) -> Estimate | NoEstimate:
    reach = SEARCH_S
    first, last = video.starts_N[0], video.ends_N[-1]
    half = LEAST_SHARE * (last - first)
    reach = max(reach, curve.times_N[-1] - last + half, first - curve.times_N[0] + half)
    data = _Data(video.starts_N, video.ends_N, seen, curve)
    peak = _peak(data, reach)
    if peak is None:
        return NoEstimate(f"{curve.name} covers too little of the video, or does not change")
    count = _effective(data, peak.lag)
    z = math.atanh(min(peak.r, 0.9999)) * math.sqrt(max(count - 3, 0.0))
    said = f"{curve.name}: best correlation {peak.r:.2f} at {peak.lag:+.2f} s"
    least = SURE_Z if peak.r >= SURE_R else LEAST_Z
    if peak.r < LEAST_R or z < least:
        apart = curve.view and _apart(data, peak, tolerance_s)
        return NoEstimate(f"the motion in the log is not the video's ({said})", apart)
    if peak.margin < LEAST_MARGIN:
        return NoEstimate(f"the motion fits at several lags alike ({said})")
    return _line(data, peak, reach, count, tolerance_s, said)


def _apart(data: _Data, peak: _Peak, tolerance_s: float) -> bool:
    """Whether the motion speaks against the lag that the log claims, which is none."""
    _, told = data.told(0.0)
    if not (_changes(data.seen) or _changes(told)):
        return False
    near = np.abs([_correlation(data, lag) for lag in (-tolerance_s, 0.0, tolerance_s)])
    r = float(np.nan_to_num(near).max())
    z = math.atanh(min(r, 0.9999)) * math.sqrt(max(_effective(data, 0.0) - 3, 0.0))
    return z < HINT_Z or r < HINT_SHARE * peak.r


def _changes(turned_N: F64) -> bool:
    """Whether turning begins, ends or reverses: an even turn looks the same at every lag."""
    rms = math.sqrt(float((turned_N**2).mean())) if len(turned_N) else 0.0
    return rms > 0 and float(turned_N.std()) > LEAST_CHANGE * rms


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


def _peak(data: _Data, reach: float) -> _Peak | None:
    lags, signed = _all_lags(data, reach)
    if not np.isfinite(signed).any():
        return None
    r = np.abs(np.nan_to_num(signed))
    top = int(r.argmax())
    # The main lobe ends where the correlation has fallen to half.
    low, high = top, top
    while low > 0 and r[low] > r[top] / 2:
        low -= 1
    while high < len(r) - 1 and r[high] > r[top] / 2:
        high += 1
    others = np.concatenate([r[:low], r[high + 1 :]])
    margin = float(r[top] - others.max()) if len(others) else float(r[top])
    sign = math.copysign(1.0, signed[top])
    fine = lags[top] + np.arange(-COARSE_S * 1.5, COARSE_S * 1.5 + FINE_S, FINE_S)
    lag, best, curvature = _refined(data, fine, sign)
    return _Peak(lag, best, margin, curvature, sign)


def _all_lags(data: _Data, reach: float) -> tuple[F64, F64]:
    """Lags on the coarse grid, and Pearson's r at each; NaN where the log covers too little."""
    times, values = data.curve.times_N, data.curve.values_N
    middles = (data.starts + data.ends) / 2
    half = float(np.median(data.ends - data.starts)) / 2
    origin = middles[0]
    place = np.round((middles - origin) / COARSE_S).astype(int)
    count = np.bincount(place).astype(np.float64)
    seen = np.bincount(place, data.seen) / np.maximum(count, 1)
    first = math.ceil((max(times[0] + half, origin - reach) - origin) / COARSE_S)
    last = min(times[-1] - half - origin, (len(seen) - 1) * COARSE_S + reach)
    at = origin + COARSE_S * np.arange(first, math.floor(last / COARSE_S) + 1)
    if len(at) < 8:
        return np.zeros(0), np.zeros(0)
    told = _clipped(np.interp(at + half, times, values) - np.interp(at - half, times, values))
    shift = np.arange(first - len(seen) + 1, first + len(at))
    r = _masked_correlation(seen, (count > 0).astype(np.float64), told)
    wanted = np.abs(shift) * COARSE_S <= reach + COARSE_S
    return shift[wanted] * COARSE_S, r[wanted]


def _masked_correlation(a_N: F64, mask_N: F64, b_M: F64) -> F64:
    """Pearson's r of every overlap of `a`, where its mask is one, with `b`.

    Entry k is that of a's end on b's start plus k; NaN with too little overlap or no change.
    """
    size = 1 << (len(a_N) + len(b_M) - 1).bit_length()

    def over(x: F64, y: F64) -> F64:
        product = np.fft.rfft(x[::-1], size) * np.fft.rfft(y, size)
        return np.asarray(np.fft.irfft(product, size)[: len(a_N) + len(b_M) - 1])

    # Centred first: the sums below are differences of large numbers.
    a = (a_N - a_N[mask_N > 0].mean()) * mask_N
    b = b_M - b_M.mean()
    one = np.ones_like(b)
    n = np.round(over(mask_N, one))
    enough = n >= max(8.0, LEAST_SHARE * mask_N.sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        sum_a, sum_b = over(a, one), over(mask_N, b)
        spread_a = over(a * a, one) - sum_a**2 / n
        spread_b = over(mask_N, b * b) - sum_b**2 / n
        r = (over(a, b) - sum_a * sum_b / n) / np.sqrt(spread_a * spread_b)
    floor = 1e-9 * np.array([float(a @ a), float(b @ b)])
    good = enough & (spread_a > floor[0]) & (spread_b > floor[1])
    return np.where(good, np.clip(r, -1.0, 1.0), np.nan)


def _refined(data: _Data, lags: F64, sign: float) -> tuple[float, float, float]:
    """Peak position, height and second derivative, by a parabola fitted over its neighbours."""
    sampled = np.array([sign * _correlation(data, lag) for lag in lags])
    r = np.nan_to_num(sampled, nan=-1.0)
    top = int(np.clip(r.argmax(), 4, len(r) - 5))
    # Where the log ends covering enough of the video there is no peak, only an edge.
    if np.isnan(sampled[top - 4 : top + 5]).any():
        return float(lags[top]), 0.0, 0.0
    near = slice(top - 4, top + 5)
    a, b, c = np.polyfit(lags[near] - lags[top], r[near], 2)
    if a >= 0:
        return float(lags[top]), float(r[top]), 0.0
    shift = float(np.clip(-b / (2 * a), -4 * FINE_S, 4 * FINE_S))
    return float(lags[top] + shift), min(float(c - b * b / (4 * a)), 1.0), float(-2 * a)


def _effective(data: _Data, lag: float) -> float:
    """Independent intervals of two correlated series (Bartlett's formula)."""
    inside, told = data.told(lag)
    a, b = data.seen[inside], told
    total, n = 1.0, len(a)
    for k in range(1, n // 4):
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
    data: _Data, peak: _Peak, reach: float, count: float, tolerance_s: float, said: str
) -> Estimate | NoEstimate:
    duration = float(data.ends[-1] - data.starts[0])
    number = int(np.clip(duration // WINDOW_S, 2, MOST_WINDOWS))
    borders = np.linspace(data.starts[0], data.ends[-1], number + 1)
    at, found, clear = [], [], []
    for a, b in pairwise(borders):
        part = data.part(*np.searchsorted(data.ends, (a, b)))
        if _seconds(part.starts) < LEAST_WINDOW_S or not _varies(
            part.seen, part.ends - part.starts
        ):
            continue
        # A window beyond the log's end can only find what is not there.
        if part.told(peak.lag)[0].mean() < LEAST_INSIDE:
            continue
        own = _peak(part, reach)
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
    log = data.curve.times_N - peak.lag
    covered = float(min(data.ends[-1], log[-1]) - max(data.starts[0], log[0]))
    spanned = float(np.ptp(places[good])) + duration / number
    if spanned < LEAST_SPANNED * covered:
        return NoEstimate(
            f"motion tells the lag in only {spanned:.0f} of {covered:.0f} s of the video ({said})"
        )
    middle = float((data.starts[0] + data.ends[-1]) / 2)
    seen_at = tuple(places[good].tolist())
    places, values = places[good] - middle, values[good]
    drift = _drift(places, values)
    spread = values - drift * places
    error = 1 / math.sqrt(max(peak.curvature * count * peak.r / max(1 - peak.r**2, 1e-3), 1e-6))
    if len(values) >= 3:
        mad = 1.4826 * float(np.median(np.abs(spread - np.median(spread))))
        error = max(error, 1.25 * mad / math.sqrt(len(values)))
    lag = peak.lag
    interval = max(1.96 * error, 0.001)
    notes = _unit_notes(data, lag)
    return Estimate(
        lag, drift, middle, interval, peak.r, agreement, data.curve.name, notes, seen_at
    )


def _unit_notes(data: _Data, lag: float) -> tuple[str, ...]:
    """Whether an angle's name says degrees and its size radians, or the reverse.

    The field of view is assumed and flow falls short of fast turns, so that only a factor of tens
    can be told.
    """
    inside, told = data.told(lag)
    seen = data.seen[inside]
    gain = math.sqrt(float(told @ told) / max(float(seen @ seen), 1e-12))
    last = data.curve.name.rpartition(".")[2]
    turned = f"{data.curve.name} turns {gain:.3g} times as far as the picture"
    if last.endswith("_deg") and gain < 0.12:
        return (f"{turned}: it is in radians, though its name says degrees",)
    if last.endswith("_rad") and gain > 0.4:
        return (f"{turned}: it is in degrees, though its name says radians",)
    return ()


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
