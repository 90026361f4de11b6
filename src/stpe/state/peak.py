"""The lag with the most evidence, of one or several kinds of motion, and how well it is known.

Near the best lag of the search the log is read at the video's own moments and the peak placed by a
parabola, whose curvature is the information that gives the standard error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stpe.state.correlate import Channel, evidence, joint_r

F64 = NDArray[np.float64]

FINE_S, FINE_REACH_S = 0.005, 0.075


@dataclass(frozen=True)
class Peak:
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


def find_peak(channels: list[Channel], low_s: float, high_s: float) -> Peak | None:
    """The peak between two lags; None where the log covers too little or nothing changes."""
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
    return Peak(
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
