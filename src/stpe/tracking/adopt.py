"""What no tracker followed, given to what it most resembles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stpe.tracking.likeness import Likeness
from stpe.tracking.meetings import TAIL_S
from stpe.tracking.observed import Observed, apart
from stpe.tracking.pieces import Piece, ends_of, motion_odds, piece_of

F64 = NDArray[np.float64]

_REACH_S = 1.0  # how far from a piece's nearest observation
_WITHIN_S = _REACH_S + TAIL_S  # what of a piece says how it moves there
_LEAST = 4.0  # log-odds asked for
_ALIKE = 2.0  # nats of likeness asked for


def adopt(seen: Observed, pieces: list[Piece], likeness: Likeness, crowd_N: F64) -> list[Piece]:
    """The pieces with what no tracklet held, or one alone, where it looks very like a piece that is
    missing there and could be there; the likeliest first."""
    families = [piece for piece in pieces if len(piece.rows) > 1]
    alone = [piece.rows[0] for piece in pieces if len(piece.rows) == 1]
    times = [seen.pts_N[piece.rows] for piece in families]
    first, last = (np.array([pts[at] for pts in times]) for at in (0, -1))
    offers = []
    for row in (*alone, *np.flatnonzero(seen.tracklet_N <= 0)):
        single = piece_of(seen, np.array([row]), crowd_N)
        now = seen.pts_N[row]
        for family in np.flatnonzero((first <= now + _REACH_S) & (last >= now - _REACH_S)).tolist():
            piece, pts = families[family], times[family]
            low, here, past, high = np.searchsorted(
                pts, [now - _WITHIN_S, now - 1e-6, now + 1e-6, now + _WITHIN_S]
            )
            before, after = piece.rows[low:here], piece.rows[past:high]
            gaps = np.abs(pts[low:high] - now)
            if here < past or not len(gaps) or gaps.min() > _REACH_S:
                continue
            if seen.shot_N[row] != seen.shot_N[piece.rows[0]]:
                continue
            looks = float(likeness.ratio(apart(single.looks, piece.looks)))
            if looks < _ALIKE:
                continue
            odds = []
            if len(before):
                odds.append(motion_odds(ends_of(seen, before)[1], single.start, 0.0, seen.size))
            if len(after):
                odds.append(motion_odds(single.end, ends_of(seen, after)[0], 0.0, seen.size))
            score = float(np.clip(seen.scores_N[row], 1e-3, 1 - 1e-3))
            total = looks + float(np.mean(odds)) + np.log(score / (1 - score))
            if total > _LEAST:
                offers.append((total, int(row), family))
    taken: set[int] = set()
    held: set[tuple[int, int]] = set()
    rows_of = [list(piece.rows) for piece in families]
    for _, row, family in sorted(offers, reverse=True):
        place = (family, int(seen.frame_N[row]))
        if row not in taken and place not in held:
            taken.add(row)
            held.add(place)
            rows_of[family].append(row)
    grown = []
    for rows in rows_of:
        order = np.argsort(seen.frame_N[rows], kind="stable")
        grown.append(piece_of(seen, np.array(rows)[order], crowd_N))
    left = [p for p in pieces if len(p.rows) == 1 and int(p.rows[0]) not in taken]
    return grown + left
