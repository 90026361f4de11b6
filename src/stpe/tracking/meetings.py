"""Where things met, and tracklets cut where they may have been mixed up.

Where boxes of like size overlap, whoever follows them may leave with the wrong one; and whoever
follows what went out of sight may take up another.

Shape legend: N observations, M those of one tracklet.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stpe.tracking.likeness import Likeness, differences
from stpe.tracking.observed import Observed
from stpe.tracking.tracker import overlap

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

#: Seconds over which motion, and looks, at one moment are taken.
TAIL_S = 1.0
FEW = 3  # observations from which a velocity is worth fitting
_MEET = 0.15  # overlap of boxes from which identities may be exchanged
_LIKE_SIZE = 2.0  # things whose areas differ more than this are not mixed up
_GHOST_S = 0.5  # a thing just gone, or about to come, is reckoned to be near where it is seen
_UNSEEN_S = 0.4  # a tracklet is also cut where it was unseen for longer, and for two frames
_CHANGED = -1.0  # nats of likeness below which it is cut though nothing was near


def crowding(seen: Observed) -> F64:
    """Largest overlap of each observation's box with another of like size: one that is there, or
    that was or will be within `_GHOST_S`, as it was or will be."""
    crowd = np.zeros(len(seen.pts_N))
    frames, first = np.unique(seen.frame_N, return_index=True)
    times = seen.pts_N[first]
    there: list[list[tuple[int, F64]]] = [[] for _ in frames]
    for rows in seen.tracklets():
        pts, boxes = seen.pts_N[rows], seen.boxes_N4[rows]
        low, high = np.searchsorted(times, [pts[0] - _GHOST_S, pts[-1] + _GHOST_S])
        for at in range(int(low), int(high)):
            after = int(np.searchsorted(pts, times[at]))
            near = [n for n in (after - 1, after) if 0 <= n < len(pts)]
            nearest = min(near, key=lambda n: abs(pts[n] - times[at]))
            if abs(pts[nearest] - times[at]) <= _GHOST_S:
                row = int(rows[nearest]) if pts[nearest] == times[at] else -1
                there[at].append((row, _box_at(pts, boxes, times[at])))
    for present in there:
        rows = np.array([row for row, _ in present])
        if len(rows) < 2 or (rows < 0).all():
            continue
        boxes = np.stack([box for _, box in present])
        area = boxes[:, 2] * boxes[:, 3]
        like = np.abs(np.log(area[:, None] / area[None])) < np.log(_LIKE_SIZE)
        shared = overlap(boxes, boxes) * like
        np.fill_diagonal(shared, 0)
        crowd[rows[rows >= 0]] = shared.max(axis=1)[rows >= 0]
    return crowd


def _box_at(pts_M: F64, boxes_M4: F64, when: float) -> F64:
    """Between observations linear; beyond them with the velocity of the nearest second."""
    box = np.array([np.interp(when, pts_M, boxes_M4[:, axis]) for axis in range(4)])
    beyond = when - float(np.clip(when, pts_M[0], pts_M[-1]))
    if beyond:
        edge = pts_M[0] if beyond < 0 else pts_M[-1]
        near = np.abs(pts_M - edge) <= TAIL_S
        if near.sum() >= FEW:
            fit = np.polynomial.polynomial.polyfit(pts_M[near], boxes_M4[near, :2], 1)
            box[:2] += beyond * fit[1]
    return box


def cut(seen: Observed, crowd_N: F64, likeness: Likeness | None) -> list[I64]:
    """Rows of each tracklet, cut where it was unseen, and in each meeting once: where the looks
    before and after differ most, or without `likeness` at its height."""
    frames = np.unique(seen.frame_N)
    pieces = []
    for rows in seen.tracklets():
        meets = np.r_[False, crowd_N[rows] > _MEET, False].astype(int)
        begins, ends = (np.flatnonzero(np.diff(meets) == step) for step in (1, -1))
        likely = None if likeness is None else _continuity(seen, rows, likeness)
        cuts = set()
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            if likely is None:
                cuts.add(begin + int(np.argmax(crowd_N[rows[begin:end]])))
            else:
                cuts.add(begin + int(np.argmin(likely[begin : end + 1])))
        if likely is not None:
            cuts |= _breaks(seen.pts_N[rows], likely)
        missed = np.diff(np.searchsorted(frames, seen.frame_N[rows])) > 2
        unseen = np.diff(seen.pts_N[rows]) > _UNSEEN_S
        cuts |= set((np.flatnonzero(missed & unseen) + 1).tolist())
        pieces += [part for part in np.split(rows, sorted(cuts)) if len(part)]
    return pieces


def _continuity(seen: Observed, rows: I64, likeness: Likeness) -> F64:
    """For each observation of a tracklet, how far the looks of the second before it and of the
    second from it on are one thing's: log-likelihood ratios."""
    pts = seen.pts_N[rows]
    places = np.arange(len(rows))
    low = np.searchsorted(pts, pts - TAIL_S)
    high = np.searchsorted(pts, pts + TAIL_S)
    apart = []
    for look_ND in seen.looks:
        sums = np.cumsum(np.r_[np.zeros((1, look_ND.shape[1])), np.nan_to_num(look_ND[rows])], 0)
        before, after = sums[places] - sums[low], sums[high] - sums[places]
        length = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
        with np.errstate(invalid="ignore"):
            apart.append(differences((before * after).sum(axis=1) / length))
    return likeness.ratio(np.stack(apart, axis=1)) if apart else np.zeros(len(rows))


def _breaks(pts_M: F64, likely_M: F64) -> set[int]:
    """Where looks change so much that it is likelier another thing: the worst of each second."""
    found: set[int] = set()
    for place in np.argsort(likely_M, kind="stable"):
        if likely_M[place] >= _CHANGED:
            break
        if all(abs(pts_M[place] - pts_M[other]) > TAIL_S for other in found):
            found.add(int(place))
    return found
