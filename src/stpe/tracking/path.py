"""A track's boxes against the path that they make together: those that stray, those that miss.

Shape legend: N observations of one track in order of time, T frames of the video.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stpe.tracking.tracker import overlap

F64 = NDArray[np.float64]

#: A thing unseen for longer may have been anywhere, or hidden.
LONGEST_GAP_S = 1.0
_NEAR_S = 0.6  # observations up to so far away say where one should be
_CERTAIN = 0.95  # score from which a box is believed wherever it is
_DENSE_S = 0.2  # frames farther apart say little of where a box should be
_FADES_S = 0.3  # and count less by e with each of these
_STEADY = 0.7  # and that of its neighbours, from which one can say where it should be
_AGREES = 0.5  # overlap with where it should be, below which a box is another thing's or none's


def strays(pts_N: F64, boxes_N4: F64, scores_N: F64) -> NDArray[np.bool_]:
    """Which boxes (cx, cy, w, h) are not where those just before and after have the track be.

    Each is compared with a weighted line through its neighbours, where these themselves keep to it,
    and with the middle of the two next to it, lest a turn be taken for a stray. With fewer than two
    neighbours, among things that jump, or with a score beyond doubt, it is believed.
    """
    astray = np.zeros(len(pts_N), bool)
    for i, now in enumerate(pts_N):
        low, high = np.searchsorted(pts_N, [now - _NEAR_S, now + _NEAR_S + 1e-9])
        near = np.r_[low:i, i + 1 : high]
        ahead = pts_N[near] - now
        if scores_N[i] >= _CERTAIN or len(near) < 2 or np.abs(ahead).min() > _DENSE_S:
            continue
        weight = np.sqrt(scores_N[near] * np.exp(-np.abs(ahead) / _FADES_S))[:, None]
        line = np.stack([np.ones(len(near)), ahead], axis=1)
        fit = np.linalg.lstsq(line * weight, boxes_N4[near] * weight, rcond=None)[0]
        expected = [fit[0]]
        if low < i < high - 1:
            beside = np.array([i - 1, i + 1])
            axes = (boxes_N4[beside, axis] for axis in range(4))
            expected.append(np.array([np.interp(now, pts_N[beside], values) for values in axes]))
        if (overlap(np.stack(expected), boxes_N4[i : i + 1]) < _AGREES).all():
            kept = overlap(line @ fit, boxes_N4[near]).diagonal()
            astray[i] = np.median(kept) >= _STEADY
    return astray


def filled(pts_T: F64, seen_pts_N: F64, boxes_N4: F64) -> tuple[NDArray[np.int64], F64]:
    """Boxes of the frames within short gaps, linear in time.

    Args:
        pts_T: times of all frames, ascending; seen_pts_N: those of a track's boxes, each one of
            them.
        boxes_N4: its boxes, of any form of which the mean of two is a box.

    Returns:
        Numbers of the frames filled, and a box for each.
    """
    after = np.searchsorted(seen_pts_N, pts_T)
    inside = (after > 0) & (after < len(seen_pts_N))
    frames = np.flatnonzero(inside & ~np.isin(pts_T, seen_pts_N))
    gap = seen_pts_N[after[frames]] - seen_pts_N[after[frames] - 1]
    frames = frames[gap <= LONGEST_GAP_S]
    boxes = [np.interp(pts_T[frames], seen_pts_N, boxes_N4[:, axis]) for axis in range(4)]
    return frames, np.stack(boxes, axis=1)
