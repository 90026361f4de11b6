"""What a log itself says of when the video's frames are: frame numbers, or a shared clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stpe.state.log import StateLog

F64 = NDArray[np.float64]
Method = Literal["clock", "frame", "estimated", "package"]

#: Share of the video's frames that a log must cover, and of its rows that must lie in the video.
LEAST_COVER = 0.9
#: Share of the video, beside the tolerance, by which frame numbers may end early: encoders drop or
#: add a few frames.
ENDS_EARLY = 0.02
#: Share of the tolerance by which a log's begin and end may miss the video's and still speak for a
#: shared clock.
CLAIM_SHARE = 0.3


@dataclass(frozen=True)
class Claim:
    """What the log itself says: the video's time of each row (NaN outside), and if that fits."""

    method: Method | None
    times_N: F64
    holds: bool
    reason: str


def claimed_by(log: StateLog, times: F64, tolerance: float) -> Claim:
    """The log's own account; frame numbers before clocks. `times`: of the video's frames."""
    clock = np.array([np.nan if r.time is None else r.time for r in log.rows])
    by_frame = (
        _by_frame(log, times, tolerance) if all(r.frame is not None for r in log.rows) else None
    )
    if by_frame is not None and (by_frame.holds or log.clock == "none"):
        return by_frame
    if log.clock == "video":
        return _by_video_clock(clock, times, tolerance)
    if log.clock == "unix":
        why = "Unix times say nothing of when the video began"
        return Claim(None, clock - clock[0], False, why)
    step = float(np.median(np.diff(clock))) if len(clock) > 1 else 0.0
    frame = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    early, late = clock[0] - times[0], clock[-1] - times[-1]
    # By how much the clock may be late, if the log began within a step of the video and ended
    # within one of its end.
    step = min(max(step, frame), tolerance)
    low, high = sorted((max(early - step, late), min(early, late + step)))
    apart = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
    holds = apart <= CLAIM_SHARE * tolerance and max(abs(early), abs(late)) <= step + tolerance
    if holds:
        why = "its times begin and end with the video"
    else:
        why = (
            f"its times begin {early:+.2f} s and end {late:+.2f} s from the video's: "
            "they may not be the video's clock"
        )
    return Claim("clock", clock, holds, why)


def _by_video_clock(clock: F64, times: F64, tolerance: float) -> Claim:
    inside = (clock >= times[0] - tolerance) & (clock <= times[-1] + tolerance)
    step = float(np.median(np.diff(clock))) if len(clock) > 1 else 0.0
    reach = max(tolerance, step)
    right = np.clip(np.searchsorted(clock, times), 0, len(clock) - 1)
    gap_N = np.minimum(
        np.abs(clock[right] - times), np.abs(clock[np.maximum(right - 1, 0)] - times)
    )
    cover = float((gap_N <= reach).mean())
    if inside.mean() < LEAST_COVER:
        return Claim("clock", clock, False, "its times lie outside the video")
    if cover < LEAST_COVER or clock[0] - times[0] > tolerance + step:
        why = f"its times cover only {100 * cover:.0f} % of the video's frames"
        return Claim("clock", clock, False, why)
    return Claim("clock", clock, True, "its format gives times in the video, and they cover it")


def _by_frame(log: StateLog, times: F64, tolerance: float) -> Claim:
    numbers = np.array([r.frame for r in log.rows], np.int64)
    low, high, count = int(numbers.min()), int(numbers.max()), len(times)
    base = 1 if low == 1 and high == count else 0
    if low > 1 and high - low == count - 1:
        base = low
    at = numbers - base
    inside = (at >= 0) & (at < count)
    claimed = np.where(inside, times[np.clip(at, 0, count - 1)], np.nan)
    cover = len(np.unique(at[inside])) / count
    slack = tolerance + ENDS_EARLY * (times[-1] - times[0])
    ends = bool(inside.any()) and times[-1] - float(np.nanmax(claimed)) <= slack
    holds = bool(inside.all()) and cover >= LEAST_COVER and ends
    why = f"its frame numbers {low} to {high} "
    why += "are the video's" if holds else f"are not those of a video of {count} frames"
    if not inside.any():
        return Claim("frame", np.full(len(numbers), np.nan), False, why)
    return Claim("frame", claimed, holds, why)
