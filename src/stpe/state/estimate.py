"""The lag between two accounts of the same motion, from all that both tell of it.

What the video shows of the camera's turning and of its way ahead is held against the log at every
lag (see `stpe.state.correlate`); the lag with the most evidence is the estimate, if it has enough
and no other comes near. Near it the log is read at the video's own moments and the peak placed by
a parabola, whose curvature is the information that gives the interval. Windows of a few seconds
are then asked on their own: they must agree, and a robust line (Theil-Sen) through their lags
gives the drift.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from stpe.state.correlate import (
    LEAST_SHARE,
    Channel,
    changes,
    clipped,
    evidence,
    joint_r,
)
from stpe.state.motion import Curve, VideoMotion

F64 = NDArray[np.float64]

#: Lags searched, at least; a longer log is searched as far as it covers half the video.
SEARCH_S = 3.0
FINE_S, FINE_REACH_S = 0.005, 0.075
#: Least seconds of known motion, in all and in a window.
LEAST_S, LEAST_WINDOW_S = 4.0, 1.6
#: Least correlation of a peak, its least evidence, and by how much it must exceed any other, nats.
LEAST_R, LEAST_NATS, LEAST_LEAD = 0.65, 20.0, 14.0
#: Correlation that logs of other episodes do not come near, and what it must have then.
SURE_R, SURE_NATS, SURE_LEAD = 0.8, 8.0, 6.0
#: Evidence in nats, and share of the best correlation, at the lag a log claims from which motion
#: no longer speaks against the claim.
HINT_NATS, HINT_SHARE = 8.0, 0.8
WINDOW_S, MOST_WINDOWS = 5.0, 60
#: What the fastest tenth of each kind of motion must reach: degrees a second, shares a second.
LEAST_RATE = {"yaw": 2.0, "pitch": 2.0, "ahead": 0.15}
#: Least correlation of a window's own peak from which its lag is one, and how far below it any
#: other must stay; what a peak must reach that is confirmed by no window alone.
LEAST_WINDOW_R, LEAST_MARGIN = 0.5, 0.12
CLEAR_R, CLEAR_MARGIN = 0.75, 0.2
#: Evidence in nats by which a window's own lag may exceed the common one by chance.
ODD_NATS = 5.0
#: Largest drift looked for, seconds a second, and the evidence from which it is one.
MOST_DRIFT, DRIFT_NATS = 0.03, 3.0
#: Evidence in nats that a window must be able to give to be asked, and the share of that, and the
#: least of it, that it must give at the common lag to agree.
ASKED_NATS, HELD_SHARE, HELD_NATS = 8.0, 0.2, 4.0
#: Share of the windows asked that must agree.
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
        curve: the fields of the log. notes: what the size of turns shows of their unit.
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
    """The lag with the most evidence. lead: over any other lag, nats; margin: the same as r.

    error_s: standard error; infinite where the evidence has no peak there. lags_L, nats_L: the
    evidence at each lag of the search.
    """

    lag: float
    r: float
    nats: float
    margin: float
    lead: float
    error_s: float
    channels: list[Channel]
    lags_L: F64
    nats_L: F64


def estimate(
    video: VideoMotion, found: list[Curve], tolerance_s: float
) -> tuple[Estimate | None, NoEstimate | None]:
    """The lag by all that correlates, or why none can be measured."""
    if _seconds(video.starts_N) < LEAST_S:
        return None, NoEstimate("the video shows the camera's motion in too few intervals")
    if not found:
        return None, NoEstimate("the log has no field that tells how the view turns")
    channels = _channels(video, found)
    if not channels:
        still = "neither the view in the log nor the camera in the video moves enough"
        return None, NoEstimate(still)
    answer = _by_channels(channels, tolerance_s)
    return (answer, None) if isinstance(answer, Estimate) else (None, answer)


def _channels(video: VideoMotion, found: list[Curve]) -> list[Channel]:
    """One for each kind of motion seen, with the curve of the log that goes with it best."""
    aside = [curve for curve in found if curve.axis == "aside"]
    chosen = []
    for axis in LEAST_RATE:
        seen = video.of_axis(axis)
        if not _varies(axis, seen, video.ends_N - video.starts_N):
            continue
        best: tuple[float, Channel] | None = None
        for curve in [curve for curve in found if curve.axis == axis]:
            # A step aside shifts the picture as a turn does.
            explain = (curve, *aside) if axis == "yaw" and curve.view else (curve,)
            channel = Channel(video.starts_N, video.ends_N, clipped(seen), explain, axis == "ahead")
            reach = _reach(channel)
            _, r = channel.all_lags(-reach, reach)
            if np.isfinite(r).any() and (best is None or np.nanmax(r) > best[0]):
                best = float(np.nanmax(r)), channel
        if best is not None:
            chosen.append(best[1])
    return chosen


def _varies(axis: str, seen_N: F64, spans_N: F64) -> bool:
    """Whether a series is known and more than noise about standing still."""
    rate = np.abs(seen_N) / spans_N
    return bool(np.isfinite(rate).all()) and float(np.percentile(rate, 90)) > LEAST_RATE[axis]


def _seconds(starts_N: F64) -> float:
    """About how long a series of intervals is that begin regularly, gaps left out."""
    return len(starts_N) * float(np.median(np.diff(starts_N))) if len(starts_N) > 1 else 0.0


def _reach(channel: Channel) -> float:
    begin, end = channel.span
    first, last = channel.starts_N[0], channel.ends_N[-1]
    half = LEAST_SHARE * (last - first)
    return float(max(SEARCH_S, end - last + half, first - begin + half))


def _by_channels(channels: list[Channel], tolerance_s: float) -> Estimate | NoEstimate:
    reach = max(_reach(channel) for channel in channels)
    peak = _peak(channels, -reach, reach)
    names = _named(channels)
    if peak is None:
        return NoEstimate(f"{names} covers too little of the video, or does not change")
    said = f"{names}: best correlation {peak.r:.2f} at {peak.lag:+.2f} s"
    sure = peak.r >= SURE_R
    apart = _apart(channels, peak, tolerance_s)
    if peak.r < LEAST_R or peak.nats < (SURE_NATS if sure else LEAST_NATS):
        return NoEstimate(f"the motion in the log is not the video's ({said})", apart)
    if peak.lead < (SURE_LEAD if sure else LEAST_LEAD):
        return NoEstimate(f"the motion fits at several lags alike ({said})", apart)
    return _line(channels, peak, tolerance_s, said)


def _named(channels: list[Channel]) -> str:
    return " and ".join(dict.fromkeys(channel.curves[0].name for channel in channels))


def _apart(channels: list[Channel], peak: _Peak, tolerance_s: float) -> bool:
    """Whether the motion speaks against the lag that the log claims, which is none."""
    mine = [channel for channel in channels if channel.curves[0].view]
    mine = [c for c in mine if changes(c.seen_N) or any(map(changes, c.told(0.0)[1]))]
    if not mine:
        return False
    counted = [channel.counted(0.0) for channel in mine if channel.told(0.0)[0].sum() >= 8]
    lags = (-tolerance_s, 0.0, tolerance_s)
    nats = evidence(counted, np.array([[c.r(lag) for lag in lags] for c in counted]))
    r = float(joint_r(counted, nats).max())
    return float(nats.max()) < HINT_NATS or r < HINT_SHARE * peak.r


def _peak(channels: list[Channel], low_s: float, high_s: float) -> _Peak | None:
    lags_CL, r_CL = map(np.array, zip(*(c.all_lags(low_s, high_s) for c in channels), strict=True))
    lags = lags_CL[0]
    there = np.isfinite(r_CL).any(axis=1)
    if not there.any():
        return None
    channels = [
        channel.counted(float(lags[np.nanargmax(r)]))
        for channel, r, known in zip(channels, r_CL, there, strict=True)
        if known
    ]
    nats = evidence(channels, r_CL[there])
    r = joint_r(channels, nats)
    top = int(nats.argmax())
    # The main lobe ends where the correlation has fallen to half.
    low, high = top, top
    while low > 0 and r[low] > r[top] / 2:
        low -= 1
    while high < len(r) - 1 and r[high] > r[top] / 2:
        high += 1
    others = np.concatenate([np.arange(low), np.arange(high + 1, len(r))]).astype(int)
    margin = float(r[top] - r[others].max()) if len(others) else float(r[top])
    lead = float(nats[top] - nats[others].max()) if len(others) else float(nats[top])
    lag, error = _refined(channels, float(lags[top]))
    best = float(evidence(channels, np.array([c.r(lag) for c in channels])))
    return _Peak(
        lag,
        float(joint_r(channels, np.array(best))),
        best,
        margin,
        lead,
        error,
        channels,
        lags,
        nats,
    )


def _refined(channels: list[Channel], coarse: float) -> tuple[float, float]:
    """Peak position and its standard error, by a parabola fitted over the evidence about it."""
    lags = coarse + np.arange(-FINE_REACH_S, FINE_REACH_S + FINE_S / 2, FINE_S)
    channels = [channel.sharpened().counted(coarse) for channel in channels]
    r_CL = np.array([[channel.r(lag) for lag in lags] for channel in channels])
    nats = evidence(channels, r_CL)
    top = int(np.clip(nats.argmax(), 4, len(nats) - 5))
    near = slice(top - 4, top + 5)
    # Where the log ends covering enough of the video there is no peak, only an edge.
    if np.isnan(r_CL[:, near]).any():
        return float(lags[top]), math.inf
    a, b, _ = np.polyfit(lags[near] - lags[top], nats[near], 2)
    if a >= 0:
        return float(lags[top]), math.inf
    shift = float(np.clip(-b / (2 * a), -4 * FINE_S, 4 * FINE_S))
    return float(lags[top] + shift), 1 / math.sqrt(-2 * a)


def _window(channels: list[Channel], first: int, end: int, peak: _Peak) -> list[Channel]:
    """What a part of the video shows, of the kinds of motion that it shows."""
    parts = [channel.part(first, end) for channel in channels]
    # A window beyond the log's end can only find what is not there.
    return [
        part
        for part in parts
        if _seconds(part.starts_N) >= LEAST_WINDOW_S
        and part.told(peak.lag)[0].mean() >= LEAST_INSIDE
        and _varies(_axis(part), part.seen_N, part.ends_N - part.starts_N)
    ]


def _axis(channel: Channel) -> str:
    return channel.curves[0].axis


@dataclass(frozen=True)
class _Answer:
    """What a window says: its own lag and standard error, NaN without one; whether it agrees with
    the common lag, or with another one only (odd); asked: whether it could tell; lags_L,
    nats_L: its evidence at lags about the common one."""

    at: float
    lag: float
    error_s: float
    asked: bool
    agrees: bool
    odd: bool
    lags_L: F64
    nats_L: F64


def _asked(parts: list[Channel], peak: _Peak, near_s: float) -> _Answer | None:
    """A window's answer; None if nothing can be read from it."""
    own = _peak(parts, peak.lag - SEARCH_S, peak.lag + SEARCH_S)
    if own is None:
        return None
    held = float(own.nats_L[np.abs(own.lags_L - peak.lag) <= near_s].max())
    total = sum(channel.count for channel in own.channels)
    able = -0.5 * total * math.log1p(-(min(peak.r, 0.99) ** 2))
    far = abs(own.lag - peak.lag) > near_s
    alone = own.r >= LEAST_WINDOW_R and own.margin >= LEAST_MARGIN
    return _Answer(
        at=float(parts[0].ends_N.mean()),
        lag=own.lag if alone and not far else math.nan,
        error_s=own.error_s,
        asked=able >= ASKED_NATS,
        agrees=held >= max(HELD_SHARE * able, HELD_NATS),
        odd=far and own.r >= LEAST_WINDOW_R and own.nats - held > ODD_NATS,
        lags_L=own.lags_L,
        nats_L=own.nats_L,
    )


def _split(answers: list[_Answer], lag: float, near_s: float) -> float | None:
    """Seconds of the video where the lag changes by the windows before and after, if it does."""
    if not answers:
        return None
    lags_L = answers[0].lags_L
    nats_WL = np.array([answer.nats_L for answer in answers])
    near = np.abs(lags_L - lag) <= near_s
    common = nats_WL[:, near].sum(axis=0).max()
    best: tuple[float, float] | None = None
    for at in range(1, len(answers)):
        gain = -common
        apart = False
        for side_L in (nats_WL[:at].sum(axis=0), nats_WL[at:].sum(axis=0)):
            gain += side_L.max()
            apart |= not near[side_L.argmax()]
        if apart and gain > ODD_NATS and (best is None or gain > best[0]):
            best = float(gain), (answers[at - 1].at + answers[at].at) / 2
    return None if best is None else best[1]


def _runs_apart(answers: list[_Answer], duration_s: float, near_s: float) -> float | None:
    """Drift by which the windows together fit better than by none, if it takes the ends too far.

    A drift that is known well enough to be certified is far smaller; see `_drift`.
    """
    lags_L = answers[0].lags_L
    middle = (answers[0].at + answers[-1].at) / 2
    least = near_s / (duration_s / 2)
    if least > MOST_DRIFT or len(answers) < 2:
        return None

    def evident(drift: float) -> float:
        moved = [np.interp(lags_L + drift * (a.at - middle), lags_L, a.nats_L) for a in answers]
        return float(np.sum(moved, axis=0).max())

    size = np.arange(least, MOST_DRIFT + least / 2, least / 2)
    drifts = np.concatenate([-size, size])
    gains = np.array([evident(float(drift)) for drift in drifts]) - evident(0.0)
    best = int(gains.argmax())
    return float(drifts[best]) if gains[best] > DRIFT_NATS else None


def _line(
    channels: list[Channel], peak: _Peak, tolerance_s: float, said: str
) -> Estimate | NoEstimate:
    starts, ends = channels[0].starts_N, channels[0].ends_N
    duration = float(ends[-1] - starts[0])
    number = int(np.clip(duration // WINDOW_S, 2, MOST_WINDOWS))
    borders = np.linspace(starts[0], ends[-1], number + 1)
    near = max(tolerance_s, 0.001 * duration)
    answers = []
    for a, b in pairwise(borders):
        first, end = np.searchsorted(ends, (a, b))
        parts = _window(channels, int(first), int(end), peak)
        answer = _asked(parts, peak, near) if parts else None
        if answer is not None:
            answers.append(answer)
    odd = next((answer.at for answer in answers if answer.odd), None)
    if odd is None:
        odd = _split(answers, peak.lag, near)
    if odd is not None:
        return NoEstimate(
            f"the lag is {peak.lag:+.2f} s in most of the video and another around {odd:.0f} s: "
            "the clocks do not run together", True
        )  # fmt: skip
    drifts = _runs_apart(answers, duration, near) if answers else None
    if drifts is not None:
        return NoEstimate(
            f"the lag is {peak.lag:+.2f} s on the whole, but the log's clock runs about "
            f"{100 * drifts:+.1f} % faster", True
        )  # fmt: skip
    asked = [answer for answer in answers if answer.asked]
    agreeing = [answer for answer in answers if answer.agrees]
    if not agreeing and (peak.r < CLEAR_R or peak.margin < CLEAR_MARGIN or asked):
        return NoEstimate(f"no part of the video confirms the lag alone ({said})")
    agreement = sum(answer.agrees for answer in asked) / len(asked) if asked else 1.0
    if agreement < LEAST_AGREEMENT:
        apart = _apart(channels, peak, tolerance_s)
        return NoEstimate(f"parts of the video disagree on the lag ({said})", apart)
    places = np.array([answer.at for answer in agreeing] or [duration / 2])
    begin, end = channels[0].span
    covered = float(min(ends[-1], end - peak.lag) - max(starts[0], begin - peak.lag))
    spanned = float(np.ptp(places)) + duration / number
    if spanned < LEAST_SPANNED * covered:
        return NoEstimate(
            f"motion tells the lag in only {spanned:.0f} of {covered:.0f} s of the video ({said})"
        )
    middle = float((starts[0] + ends[-1]) / 2)
    seen_at = tuple(places.tolist())
    own = [answer for answer in agreeing if math.isfinite(answer.lag)]
    places = np.array([answer.at for answer in own]) - middle
    values = np.array([answer.lag for answer in own])
    drift = _drift(places, values)
    error = peak.error_s
    if len(values) >= 3:
        spread = values - drift * places
        mad = 1.4826 * float(np.median(np.abs(spread - np.median(spread))))
        error = max(error, 1.25 * mad / math.sqrt(len(values)))
    # Which moment of a tic a row tells of, its start or its end, stays open.
    tic = min(float(np.median(np.diff(x))) for x in (starts, channels[0].curves[0].times_N))
    interval = math.hypot(1.96 * error, tic / 2)
    named, notes = _named(channels), _unit_notes(channels, peak.lag)
    return Estimate(peak.lag, drift, middle, interval, peak.r, agreement, named, notes, seen_at)


def _unit_notes(channels: list[Channel], lag: float) -> tuple[str, ...]:
    """Whether an angle's name says degrees and its size radians, or the reverse.

    The field of view is assumed and flow falls short of fast turns, so that only a factor of tens
    can be told.
    """
    notes = []
    for channel in channels:
        name = channel.curves[0].name
        inside, told_KN = channel.told(lag)
        seen, told = channel.seen_N[inside], told_KN[0]
        gain = math.sqrt(float(told @ told) / max(float(seen @ seen), 1e-12))
        turned = f"{name} turns {gain:.3g} times as far as the picture"
        if name.endswith("_deg") and gain < 0.12:
            notes.append(f"{turned}: it is in radians, though its name says degrees")
        elif name.endswith("_rad") and gain > 0.4:
            notes.append(f"{turned}: it is in degrees, though its name says radians")
    return tuple(notes)


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
