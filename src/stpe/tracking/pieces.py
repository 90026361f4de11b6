"""Pieces of tracklets: where each begins and ends, how it looks, what may go on from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stpe.tracking.meetings import FEW, TAIL_S
from stpe.tracking.observed import Looks, Observed

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

_USUAL_GAP_S = 2.0  # gaps become rarer by e with each
_HELD = 3.0  # nats in favour of what one tracklet held
#: Deviation, in sides, of where a thing is after a gap: at once, and added a second, where both
#: velocities are known and where they are not.
_SPREAD = (0.25, 0.5, 1.0)
_GROWTH = (0.15, 0.1)  # deviation of the log of its side: at once, and added a second
_SIZES = 0.6  # and of the sides of different things


@dataclass(frozen=True)
class End:
    """Where and when a piece begins or ends."""

    pts: float
    place_2: F64  # camera-compensated
    velocity_2: F64 | None
    side: float
    tracklet: int


@dataclass(frozen=True)
class Piece:
    """Some observations of one thing, in order of time; the mean look of the clear ones."""

    rows: I64
    looks: Looks
    start: End
    end: End


def piece_of(seen: Observed, rows: I64, crowd_N: F64) -> Piece:
    """From its rows in order of time."""
    return Piece(rows, seen.look(rows, crowd_N), *ends_of(seen, rows))


def ends_of(seen: Observed, rows: I64) -> tuple[End, End]:
    """Its beginning and its end, motion fitted over the nearest second."""
    pts, boxes = seen.pts_N[rows], seen.boxes_N4[rows]
    place = boxes[:, :2] - seen.camera_N2[rows]
    ends = []
    for at, near in ((0, pts <= pts[0] + TAIL_S), (-1, pts >= pts[-1] - TAIL_S)):
        velocity, middle = None, place[at]
        if near.sum() >= FEW:
            fit = np.polynomial.polynomial.polyfit(pts[near] - pts[at], place[near], 1)
            middle, velocity = fit
        side = float(np.median(np.sqrt(boxes[near, 2] * boxes[near, 3])))
        tracklet = int(seen.tracklet_N[rows[at]])
        ends.append(End(float(pts[at]), middle, velocity, side, tracklet))
    return ends[0], ends[1]


def motion_odds(end: End, start: End, births: float, size: tuple[int, int]) -> float:
    """Log-odds by place, size and time."""
    gap = max(start.pts - end.pts, 0.0)
    known = [v for v in (end.velocity_2, start.velocity_2) if v is not None]
    moved = gap * np.mean(known, axis=0) if known else np.zeros(2)
    side = float(np.sqrt(end.side * start.side))
    spread = side * (_SPREAD[0] + _SPREAD[1 if len(known) == 2 else 2] * gap)
    off = float(((start.place_2 - end.place_2 - moved) ** 2).sum()) / spread**2
    odds = np.log(size[0] * size[1] / (2 * np.pi * spread**2)) - off / 2
    growth = _GROWTH[0] + _GROWTH[1] * gap
    change = float(np.log(start.side / end.side))
    odds += np.log(_SIZES / growth) - change**2 / 2 * (1 / growth**2 - 1 / _SIZES**2)
    odds -= gap / _USUAL_GAP_S + np.log1p(births * gap)
    # Whoever followed it from frame to frame knew more of its motion.
    return float(max(odds, 0.0) + _HELD if end.tracklet == start.tracklet else odds)
