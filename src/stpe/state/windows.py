"""What parts of the video say of the lag on their own.

Each window of a few seconds is asked for its evidence at lags about the common one. Together they
must fit that lag better than any clock that is set once in the video, or that runs at another rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from stpe.state.correlate import Channel
from stpe.state.motion import lasts_s, moves
from stpe.state.peak import Peak, find_peak

F64 = NDArray[np.float64]

WINDOW_S, MOST_WINDOWS = 5.0, 60
#: Lags searched about the common one, and least seconds of known motion in a window.
SEARCH_S, LEAST_WINDOW_S = 3.0, 1.6
#: Least correlation of a window's own peak from which its lag is one, and how far below it any
#: other must stay.
LEAST_WINDOW_R, LEAST_MARGIN = 0.5, 0.12
#: Evidence in nats by which another clock must fit better for the common one to be in doubt, and
#: to be refuted: one set in the video, and one of another rate.
DOUBT_NATS, SET_NATS, RATE_NATS = 1.0, 5.0, 3.0
#: Largest difference of rates looked for, seconds a second.
MOST_DRIFT = 0.03
#: Evidence in nats that a window must be able to give to be asked, and the share of that, and the
#: least of it, that it must give at the common lag to agree.
ASKED_NATS, HELD_SHARE, HELD_NATS = 8.0, 0.2, 4.0
#: Share of a window that the log must cover for the window to be asked.
LEAST_INSIDE = 0.9


@dataclass(frozen=True)
class Answer:
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


@dataclass(frozen=True)
class OtherClock:
    """A clock that fits the windows better than the common lag; refutes: by so much that the
    common lag is wrong, rather than in doubt."""

    told: str
    refutes: bool


def ask(channels: list[Channel], peak: Peak, near_s: float) -> list[Answer]:
    """The answers of the windows that show motion, in order."""
    starts, ends = channels[0].starts_N, channels[0].ends_N
    answers = []
    for a, b in pairwise(np.linspace(starts[0], ends[-1], windows(channels) + 1)):
        first, end = np.searchsorted(ends, (a, b))
        parts = _window(channels, int(first), int(end), peak)
        answer = _asked(parts, peak, near_s) if parts else None
        if answer is not None:
            answers.append(answer)
    return answers


def windows(channels: list[Channel]) -> int:
    """How many the video is cut into."""
    duration = float(channels[0].ends_N[-1] - channels[0].starts_N[0])
    return int(np.clip(duration // WINDOW_S, 2, MOST_WINDOWS))


def _window(channels: list[Channel], first: int, end: int, peak: Peak) -> list[Channel]:
    """What a part of the video shows, of the kinds of motion that it shows."""
    parts = [channel.part(first, end) for channel in channels]
    # A window beyond the log's end can only find what is not there.
    return [
        part
        for part in parts
        if lasts_s(part.starts_N) >= LEAST_WINDOW_S
        and part.told(peak.lag)[0].mean() >= LEAST_INSIDE
        and moves(part.curves[0].axis, part.seen_N, part.ends_N - part.starts_N)
    ]


def _asked(parts: list[Channel], peak: Peak, near_s: float) -> Answer | None:
    """A window's answer; None if nothing can be read from it."""
    own = find_peak(parts, peak.lag - SEARCH_S, peak.lag + SEARCH_S)
    if own is None:
        return None
    held = float(own.nats_L[np.abs(own.lags_L - peak.lag) <= near_s].max())
    total = sum(channel.count for channel in own.channels)
    able = -0.5 * total * math.log1p(-(min(peak.r, 0.99) ** 2))
    far = abs(own.lag - peak.lag) > near_s
    alone = own.r >= LEAST_WINDOW_R and own.margin >= LEAST_MARGIN
    return Answer(
        at=float(parts[0].ends_N.mean()),
        lag=own.lag if alone and not far else math.nan,
        error_s=own.error_s,
        asked=able >= ASKED_NATS,
        agrees=held >= max(HELD_SHARE * able, HELD_NATS),
        odd=far and own.r >= LEAST_WINDOW_R and own.nats - held > SET_NATS,
        lags_L=own.lags_L,
        nats_L=own.nats_L,
    )


def other_clock(
    answers: list[Answer], lag: float, duration_s: float, near_s: float
) -> OtherClock | None:
    """What speaks against one lag, within `near_s`, from the video's first window to its last."""
    if not answers:
        return None
    odd = next((answer.at for answer in answers if answer.odd), None)
    nats, at = (math.inf, odd) if odd is not None else _set_once(answers, lag, near_s)
    if nats > DOUBT_NATS:
        return OtherClock(f"another lag around {at:.0f} s", nats > SET_NATS)
    nats, rate = _of_another_rate(answers, duration_s, near_s)
    if nats > DOUBT_NATS:
        return OtherClock(f"a clock {100 * rate:+.1f} % faster", nats > RATE_NATS)
    return None


def _set_once(answers: list[Answer], lag: float, near_s: float) -> tuple[float, float]:
    """Evidence by which two lags, one of them far from the common one, fit the windows before and
    after some moment better than one does; and that moment, in seconds of the video."""
    lags_L = answers[0].lags_L
    nats_WL = np.array([answer.nats_L for answer in answers])
    near = np.abs(lags_L - lag) <= near_s
    common = nats_WL[:, near].sum(axis=0).max()
    best = -math.inf, 0.0
    for at in range(1, len(answers)):
        before_L, after_L = nats_WL[:at].sum(axis=0), nats_WL[at:].sum(axis=0)
        apart = max(
            before_L[~near].max() + after_L.max(),
            before_L.max() + after_L[~near].max(),
        )
        best = max(best, (float(apart - common), (answers[at - 1].at + answers[at].at) / 2))
    return best


def _of_another_rate(
    answers: list[Answer], duration_s: float, near_s: float
) -> tuple[float, float]:
    """Evidence by which a rate that takes the ends too far fits the windows better than the same
    rate does; and that rate, seconds a second.

    A drift that is known well enough to be certified is far smaller; see `estimate._drift`.
    """
    lags_L = answers[0].lags_L
    middle = (answers[0].at + answers[-1].at) / 2
    least = near_s / (duration_s / 2)
    if least > MOST_DRIFT or len(answers) < 2:
        return -math.inf, 0.0

    def evident(drift: float) -> float:
        moved = [np.interp(lags_L + drift * (a.at - middle), lags_L, a.nats_L) for a in answers]
        return float(np.sum(moved, axis=0).max())

    size = np.arange(least, MOST_DRIFT + least / 2, least / 2)
    same = evident(0.0)
    return max((evident(float(rate)) - same, float(rate)) for rate in (*size, *-size))
