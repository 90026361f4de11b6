"""Matches the rows of a log to the frames of a video, and certifies how well that is known.

A log is `aligned` only where something in the video witnesses it: the motion of the view, or
frames that come at times like no other video's. *Frame numbers* and a *shared clock* are claims of
the log; where they fit the video's length and nothing can witness or contradict them the log is
`unverified`: it is matched as it claims, and everything made from it says so. Where the claim does
not fit, the lag is *estimated* from motion. Whatever is contradicted, or cannot be shown to hold
within the tolerance, is `unaligned`, and no state is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stpe.errors import UsageError
from stpe.state.claim import Claim, Method, claimed_by
from stpe.state.estimate import Estimate, NoEstimate, estimate
from stpe.state.faults import Faults, faults, jitter_ms
from stpe.state.identity import Video, contradictions
from stpe.state.log import StateLog
from stpe.state.matching import matched, numbers
from stpe.state.motion import VideoMotion, curves
from stpe.state.timetable import same_timetable
from stpe.state.windows import WINDOW_S

F64 = NDArray[np.float64]

#: Seconds of the video from which a part of the log between pauses must be confirmed by itself.
LEAST_STRETCH_S = 1.0
#: How far from a pause a window's middle must be to lie on one side of it, nearly.
_HALF = 0.4 * WINDOW_S


Verdict = Literal["aligned", "unverified", "unaligned"]


@dataclass(frozen=True)
class Certificate:
    """How a log fits a video.

    Attributes:
        verdict: `aligned`; `unverified`, where nothing in the video can tell whether the log is
            its own; or `unaligned`: then no state is given. reason: why, in a sentence.
        method: how rows were matched, `package` where they travel with the frames; None where
            nothing can be matched.
        lag_ms: time in the log minus time in the video of the same moment, at the video's middle;
            Unix times and clocks without an origin are counted from the log's first row.
        drift_ppm: by how much the log's clock runs faster; 0 where it is not told from none.
        jitter_ms: standard deviation of the log's times about a regular rate; None without one.
        interval_ms: 95 % interval of lag_ms; None where the lag is the log's claim alone.
        confirmed: whether something in the video confirms the match.
        witness: what that is; None without.
        contradictions: what the log says of its video that is not so of this one.
        correlation: of that motion with the log's; None where it could not be compared.
        matched_share: share of the video's frames that have a row within the tolerance.
        dropped, duplicated, reordered: rows that are missing, there twice, or late.
        notes: what else the comparison showed of the log.
        tolerance_ms, rows, frames, log_sha256, log_kind, repairs: what it was made from.
    """

    verdict: Verdict
    reason: str
    method: Method | None
    lag_ms: float | None
    drift_ppm: float | None
    jitter_ms: float | None
    interval_ms: tuple[float, float] | None
    confirmed: bool
    witness: str | None
    contradictions: tuple[str, ...]
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
        """Whether something in the video confirms the log."""
        return self.verdict == "aligned"

    @property
    def how(self) -> str:
        """How a matched frame's state was matched, as `frames.alignment` has it."""
        return str(self.method) if self.aligned else self.verdict

    def document(self) -> dict[str, Any]:
        """As it is stored and printed."""
        fields = {k: v for k, v in vars(self).items() if k != "row_N"}
        return {k: vars(v) if isinstance(v, Faults) else v for k, v in fields.items()}


def align(
    log: StateLog,
    frame_times: Sequence[float] | F64,
    motion_series: VideoMotion | None = None,
    tolerance_ms: float = 50.0,
    video: Video | None = None,
) -> Certificate:
    """Match a log to a video whose decoded frames have these times.

    Args:
        log: see `stpe.state.reading.read_log`.
        frame_times: seconds of every decoded frame, ascending.
        motion_series: camera rotation seen in the video, to check or to find the lag.
        tolerance_ms: the most that a row may be off.
        video: its name, size and tags, which the log may contradict.

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
    against = tuple(contradictions(log, video)) if video is not None else ()
    judged = _judge(claim, found, missing, tolerance)
    if judged.verdict == "unverified" and same_timetable(_stated(log, claim), times):
        judged = replace(
            judged, verdict="aligned", witness="frame times",
            reason="the log has the times of the video's frames, which come at no regular rate",
        )  # fmt: skip
    if against and not (judged.verdict == "aligned" and judged.at_claim):
        judged = replace(judged, verdict="unaligned", reason="; ".join(against))
    if judged.verdict == "aligned" and judged.method == "estimated" and found is not None:
        pause = _unseen_pause(claim, found, times, tolerance)
        if pause is not None:
            judged = replace(judged, verdict="unaligned", reason=pause)
    row_N = np.full(len(times), -1, np.int64)
    if judged.verdict != "unaligned":
        row_N = matched(claim, found if judged.method == "estimated" else None, times, tolerance)
        if (row_N < 0).all():
            none = "no frame has a row within the tolerance"
            judged = replace(judged, verdict="unaligned", reason=none)
    lag, drift, interval = numbers(log, claim, found, times, judged.method)
    confirmed = judged.verdict == "aligned"
    return Certificate(
        verdict=judged.verdict,
        reason=judged.reason,
        method=judged.method,
        lag_ms=lag,
        drift_ppm=drift,
        jitter_ms=jitter_ms(log),
        interval_ms=interval,
        confirmed=confirmed,
        witness=judged.witness if confirmed else None,
        contradictions=against,
        correlation=None if found is None else round(found.r, 4),
        matched_share=round(float((row_N >= 0).mean()), 4),
        **faults(log),
        notes=(*(() if found is None else found.notes), *(against if confirmed else ())),
        tolerance_ms=tolerance_ms,
        rows=len(log.rows),
        frames=len(times),
        log_sha256=log.sha256,
        log_kind=log.kind,
        repairs=log.repairs,
        row_N=row_N,
    )


@dataclass(frozen=True)
class _Judged:
    """A verdict and why; at_claim: whether motion was found right where the log says it is."""

    method: Method | None
    verdict: Verdict
    reason: str
    witness: str | None = None
    at_claim: bool = False


def _judge(claim: Claim, found: Estimate | None, missing: NoEstimate, tolerance: float) -> _Judged:
    if found is not None:
        if found.half_interval_s > tolerance:
            known = f"the lag is known only to {1e3 * found.half_interval_s:.0f} ms"
            return _Judged("estimated", "unaligned", known)
        seen = f"the motion of {found.curve}"
        near = abs(found.lag_s) <= max(found.half_interval_s, 0.4 * tolerance)
        if claim.holds and claim.method and near and not found.drift:
            agrees = f"{claim.reason}, and {seen} agrees"
            return _Judged(claim.method, "aligned", agrees, seen, True)
        reason = f"{seen} fits with r = {found.r:.2f}"
        if claim.method == "frame" and claim.holds and abs(found.lag_s) > tolerance:
            said = f"its motion is {found.lag_s:+.2f} s away from what its frame numbers say"
            reason = f"{said}; {seen} decides"
        return _Judged("estimated", "aligned", reason, seen)
    if missing.contradicts:
        return _Judged(claim.method, "unaligned", missing.reason)
    if claim.holds:
        unseen = f"{claim.reason}, but nothing in the video confirms it: {missing.reason}"
        return _Judged(claim.method, "unverified", unseen)
    return _Judged(claim.method, "unaligned", f"{claim.reason}, and {missing.reason}")


def _stated(log: StateLog, claim: Claim) -> F64:
    """The times that a log itself states, on the video's clock; frame numbers state none."""
    if claim.method != "frame":
        return claim.times_N
    if log.clock == "none":
        return np.full(len(log.rows), np.nan)
    clock: F64 = np.array([np.nan if r.time is None else r.time for r in log.rows], np.float64)
    first = int(np.flatnonzero(np.isfinite(claim.times_N))[0])
    return np.asarray(clock - clock[first] + claim.times_N[first])


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
