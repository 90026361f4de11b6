"""Matches the rows of a log to the frames of a video, and certifies how well that is known.

Three ways, and what each must show. *Frame numbers* and a *shared clock* are claims of the log:
they stand if the log ends where the video ends, and if the motion in the log, where it has any,
does not contradict them. Otherwise the lag is *estimated* from that motion. Whatever cannot be
shown to hold within the tolerance is `unaligned`, and no state is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stpe.errors import UsageError
from stpe.state.claim import Claim, Method, claimed_by
from stpe.state.estimate import Estimate, NoEstimate, estimate
from stpe.state.faults import Faults, faults, jitter_ms
from stpe.state.log import StateLog
from stpe.state.motion import VideoMotion, curves
from stpe.state.windows import WINDOW_S

F64 = NDArray[np.float64]

#: Seconds of the video from which a part of the log between pauses must be confirmed by itself.
LEAST_STRETCH_S = 1.0
#: How far from a pause a window's middle must be to lie on one side of it, nearly.
_HALF = 0.4 * WINDOW_S


@dataclass(frozen=True)
class Certificate:
    """How a log fits a video.

    Attributes:
        verdict: `aligned`, or `unaligned`: then no state is given. reason: why, in a sentence.
        method: how rows were matched; None where nothing can be matched.
        lag_ms: time in the log minus time in the video of the same moment, at the video's middle;
            Unix times and clocks without an origin are counted from the log's first row.
        drift_ppm: by how much the log's clock runs faster; 0 where it is not told from none.
        jitter_ms: standard deviation of the log's times about a regular rate; None without one.
        interval_ms: 95 % interval of lag_ms; None where the lag is the log's claim alone.
        confirmed: whether the motion seen in the video confirms the match.
        correlation: of that motion with the log's; None where it could not be compared.
        matched_share: share of the video's frames that have a row within the tolerance.
        dropped, duplicated, reordered: rows that are missing, there twice, or late.
        notes: what else the comparison showed of the log.
        tolerance_ms, rows, frames, log_sha256, log_kind, repairs: what it was made from.
    """

    verdict: Literal["aligned", "unaligned"]
    reason: str
    method: Method | None
    lag_ms: float | None
    drift_ppm: float | None
    jitter_ms: float | None
    interval_ms: tuple[float, float] | None
    confirmed: bool
    correlation: float | None
    matched_share: float
    dropped: Faults
    duplicated: Faults
    reordered: Faults
    notes: tuple[str, ...]
    tolerance_ms: float
    rows: int
    frames: int
    log_sha256: str
    log_kind: str
    repairs: tuple[str, ...]
    #: Row of each of the video's frames, -1 for none; not part of what is stored.
    row_N: NDArray[np.int64] = field(repr=False, compare=False)

    @property
    def aligned(self) -> bool:
        """Whether states may be used."""
        return self.verdict == "aligned"

    def document(self) -> dict[str, Any]:
        """As it is stored and printed."""
        fields = {k: v for k, v in vars(self).items() if k != "row_N"}
        return {k: vars(v) if isinstance(v, Faults) else v for k, v in fields.items()}


def align(
    log: StateLog,
    frame_times: Sequence[float] | F64,
    motion_series: VideoMotion | None = None,
    tolerance_ms: float = 50.0,
) -> Certificate:
    """Match a log to a video whose decoded frames have these times.

    Args:
        log: see `stpe.state.reading.read_log`.
        frame_times: seconds of every decoded frame, ascending.
        motion_series: camera rotation seen in the video, to check or to find the lag.
        tolerance_ms: the most that a row may be off.

    Raises:
        UsageError: there is no frame, or the tolerance is not positive.
    """
    times = np.asarray(frame_times, np.float64)
    if not len(times) or not tolerance_ms > 0:
        raise UsageError("alignment needs the times of the frames and a positive tolerance")
    tolerance = tolerance_ms / 1e3
    found, missing = None, NoEstimate("the video's motion was not measured")
    claim = claimed_by(log, times, tolerance)
    if motion_series is not None:
        known = np.flatnonzero(np.isfinite(claim.times_N))
        told = curves([log.rows[i] for i in known], claim.times_N[known].tolist())
        found, why = estimate(motion_series, told, tolerance)
        missing = why or missing
    method, aligned, reason = _judge(claim, found, missing, tolerance)
    if aligned and method == "estimated" and found is not None:
        pause = _unseen_pause(claim, found, times, tolerance)
        if pause is not None:
            aligned, reason = False, pause
    row_N = np.full(len(times), -1, np.int64)
    if aligned:
        row_N = _matched(claim, found if method == "estimated" else None, times, tolerance)
        if (row_N < 0).all():
            aligned, reason = False, "no frame has a row within the tolerance"
    lag, drift, interval = _numbers(log, claim, found, times, method)
    return Certificate(
        verdict="aligned" if aligned else "unaligned",
        reason=reason,
        method=method,
        lag_ms=lag,
        drift_ppm=drift,
        jitter_ms=jitter_ms(log),
        interval_ms=interval,
        confirmed=aligned and found is not None,
        correlation=None if found is None else round(found.r, 4),
        matched_share=round(float((row_N >= 0).mean()), 4),
        **faults(log),
        notes=() if found is None else found.notes,
        tolerance_ms=tolerance_ms,
        rows=len(log.rows),
        frames=len(times),
        log_sha256=log.sha256,
        log_kind=log.kind,
        repairs=log.repairs,
        row_N=row_N,
    )


def _judge(
    claim: Claim, found: Estimate | None, missing: NoEstimate, tolerance: float
) -> tuple[Method | None, bool, str]:
    if found is not None:
        if found.half_interval_s > tolerance:
            return "estimated", False, (
                f"the lag is known only to {1e3 * found.half_interval_s:.0f} ms"
            )  # fmt: skip
        near = abs(found.lag_s) <= max(found.half_interval_s, 0.4 * tolerance)
        if claim.holds and claim.method and near and not found.drift:
            return claim.method, True, f"{claim.reason}, and the motion of {found.curve} agrees"
        if claim.method == "frame" and claim.holds and abs(found.lag_s) > tolerance:
            said = f"its motion is {found.lag_s:+.2f} s away from what its frame numbers say"
            return "estimated", True, f"{said}; the motion of {found.curve} decides"
        return "estimated", True, f"the motion of {found.curve} fits with r = {found.r:.2f}"
    if missing.contradicts:
        return claim.method, False, missing.reason
    if claim.holds:
        return claim.method, True, f"{claim.reason}; not confirmed by motion: {missing.reason}"
    return claim.method, False, f"{claim.reason}, and {missing.reason}"


def _unseen_pause(claim: Claim, found: Estimate, times: F64, tolerance: float) -> str | None:
    """Why a log that pauses is not trusted, where motion confirms only one side of the pause: the
    clock may have been set in it."""
    clock = claim.times_N[np.isfinite(claim.times_N)]
    steps = np.diff(clock)
    if not len(steps):
        return None
    long = np.flatnonzero(steps > tolerance + 3 * float(np.median(steps)))
    # In the video's time.
    seen = clock - found.lag_s
    borders = [-np.inf, *((seen[i] + seen[i + 1]) / 2 for i in long), np.inf]
    for start, end in pairwise(borders):
        shown = min(end, times[-1], seen[-1]) - max(start, times[0], seen[0])
        inside = [at for at in found.seen_at if start + _HALF < at < end - _HALF]
        if shown > LEAST_STRETCH_S and not inside:
            at = end if np.isfinite(end) else start
            return f"rows pause at {at:.1f} s, and on one side of that no motion confirms the clock"
    return None


def _matched(claim: Claim, found: Estimate | None, times: F64, tolerance: float) -> Any:
    """The row nearest to each frame, within the tolerance."""
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


def _numbers(
    log: StateLog, claim: Claim, found: Estimate | None, times: F64, method: Method | None
) -> tuple[float | None, float | None, tuple[float, float] | None]:
    """lag_ms, drift_ppm and interval_ms."""
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
