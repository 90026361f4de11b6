"""The lag between two accounts of the same motion, from all that both tell of it.

What the video shows of the camera's turning and of its way ahead is held against the log at every
lag (see `stpe.state.correlate`); the lag with the most evidence (`stpe.state.peak`) is the
estimate, if it has enough and no other comes near. Windows of a few seconds (`stpe.state.windows`)
are then asked on their own: no other clock may fit them better, most must agree, and a robust line
(Theil-Sen) through their lags gives the drift.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

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
from stpe.state.motion import LEAST_RATE, Curve, VideoMotion, lasts_s, moves
from stpe.state.peak import Peak, find_peak
from stpe.state.windows import ask, other_clock, windows

F64 = NDArray[np.float64]

#: Lags searched, at least; a longer log is searched as far as it covers half the video.
SEARCH_S = 3.0
#: Least seconds of known motion.
LEAST_S = 4.0
#: Least correlation of a peak, its least evidence, and by how much it must exceed any other, nats.
LEAST_R, LEAST_NATS, LEAST_LEAD = 0.65, 20.0, 14.0
#: Correlation that logs of other episodes do not come near, and what it must have then.
SURE_R, SURE_NATS, SURE_LEAD = 0.8, 8.0, 6.0
#: Evidence in nats, and share of the best correlation, at the lag a log claims from which motion
#: no longer speaks against the claim.
HINT_NATS, HINT_SHARE = 8.0, 0.8
#: What a peak must reach that is confirmed by no window alone.
CLEAR_R, CLEAR_MARGIN = 0.75, 0.2
#: Share of the windows asked that must agree.
LEAST_AGREEMENT = 0.75
#: Share of the video, as far as the log goes, from the first to the last window that agrees: a
#: clock that is set, or runs fast, shows nowhere else.
LEAST_SPANNED = 0.5


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


def estimate(
    video: VideoMotion, found: list[Curve], tolerance_s: float
) -> tuple[Estimate | None, NoEstimate | None]:
    """The lag by all that correlates, or why none can be measured."""
    if lasts_s(video.starts_N) < LEAST_S:
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
        if not moves(axis, seen, video.ends_N - video.starts_N):
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


def _reach(channel: Channel) -> float:
    begin, end = channel.span
    first, last = channel.starts_N[0], channel.ends_N[-1]
    half = LEAST_SHARE * (last - first)
    return float(max(SEARCH_S, end - last + half, first - begin + half))


def _by_channels(channels: list[Channel], tolerance_s: float) -> Estimate | NoEstimate:
    reach = max(_reach(channel) for channel in channels)
    peak = find_peak(channels, -reach, reach)
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


def _apart(channels: list[Channel], peak: Peak, tolerance_s: float) -> bool:
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


def _line(
    channels: list[Channel], peak: Peak, tolerance_s: float, said: str
) -> Estimate | NoEstimate:
    starts, ends = channels[0].starts_N, channels[0].ends_N
    duration = float(ends[-1] - starts[0])
    near = max(tolerance_s, 0.001 * duration)
    answers = ask(channels, peak, near)
    other = other_clock(answers, peak.lag, duration, near)
    if other is not None:
        shown = "show" if other.refutes else "do not exclude"
        return NoEstimate(
            f"the lag is {peak.lag:+.2f} s on the whole, but parts of it {shown} {other.told}",
            other.refutes,
        )
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
    spanned = float(np.ptp(places)) + duration / windows(channels)
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
