"""Tracklets cut where identities may have been exchanged, and joined over the whole video.

A tracklet is cut where it met another: where boxes of the same size overlap, whoever follows them
may leave with the wrong one. The pieces are then joined, end to start, so that the total evidence
is largest (a linear assignment, repeated until nothing changes): how well the motion of both,
camera-compensated, meets in between; how alike they look, as far as looks tell things apart in this
very video (see `stpe.tracking.likeness`); how usual such a gap is; and that one tracklet held both.
A join needs more evidence than that of a new thing turning up there by chance.

Shape legend: N observations, P pieces, K descriptors of looks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stpe.tracking.adopt import adopt
from stpe.tracking.likeness import Likeness, learn
from stpe.tracking.meetings import crowding, cut
from stpe.tracking.observed import Observed, apart
from stpe.tracking.pieces import Piece, motion_odds, piece_of
from stpe.tracking.tracker import assign

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

GAP_S = 4.0  # longest gap joined
#: Of one thing two boxes may be seen at once for so long, and in that share of the shorter piece.
_BOTH_S, _BOTH = 0.3, 0.3
_SURE = 2.0  # log-odds that a join of two tracklets needs
_ROUNDS = 6


def linked(seen: Observed) -> I64:
    """A number for each observation, the same for observations of one thing, from 0; -1 for a
    second one of the same thing in a frame, and for one in no tracklet that fits nowhere."""
    number = np.full(len(seen.pts_N), -1, np.int64)
    followed = seen.tracklet_N > 0
    if not followed.any():
        return number
    crowd_N = crowding(seen)
    pieces = [piece_of(seen, rows, crowd_N) for rows in cut(seen, crowd_N, None)]
    likeness = _learn(seen, pieces, crowd_N)
    pieces = [piece_of(seen, rows, crowd_N) for rows in cut(seen, crowd_N, likeness)]
    for _ in range(_ROUNDS):
        chains = _chains(len(pieces), _best(_evidence(seen, pieces, likeness)))
        if len(chains) == len(pieces):
            break
        pieces = [
            piece_of(seen, _once(seen, np.concatenate([pieces[i].rows for i in chain])), crowd_N)
            for chain in chains
        ]
    pieces = adopt(seen, pieces, likeness, crowd_N)
    for index, piece in enumerate(pieces):
        number[piece.rows] = index
    return number


def _once(seen: Observed, rows: I64) -> I64:
    """In order of time, of two observations in a frame the surer."""
    rows = rows[np.lexsort((-seen.scores_N[rows], seen.frame_N[rows]))]
    return np.asarray(rows[np.r_[True, np.diff(seen.frame_N[rows]) > 0]])


def _learn(seen: Observed, pieces: list[Piece], crowd_N: F64) -> Likeness:
    """Differences between the two halves of a piece, and between pieces that are there at once."""
    kinds = len(seen.looks)
    same, other = [], []
    long = [piece for piece in pieces if len(piece.rows) > 1]
    for piece in long:
        middle = len(piece.rows) // 2
        parts = piece.rows[:middle], piece.rows[middle:]
        same.append(apart(*(seen.look(part, crowd_N) for part in parts)))
    long.sort(key=lambda piece: piece.start.pts)
    for a, piece in enumerate(long):
        for rival in long[a + 1 :]:
            if rival.start.pts > piece.end.pts:
                break
            if np.intersect1d(seen.frame_N[piece.rows], seen.frame_N[rival.rows]).size:
                other.append(apart(piece.looks, rival.looks))
    return learn(
        np.array(same).reshape(len(same), kinds), np.array(other).reshape(len(other), kinds)
    )


def _evidence(
    seen: Observed, pieces: list[Piece], likeness: Likeness
) -> dict[tuple[int, int], float]:
    """Log-odds, where positive, that the second piece goes on where the first ended."""
    starts = np.array([piece.start.pts for piece in pieces])
    order = np.argsort(starts, kind="stable")
    sorted_starts = starts[order]
    seconds = max(float(np.ptp(seen.pts_N)), 1.0)
    births = len(pieces) / seconds
    shot = [int(seen.shot_N[piece.rows[0]]) for piece in pieces]
    found = {}
    for i, piece in enumerate(pieces):
        low, high = np.searchsorted(
            sorted_starts, [piece.end.pts - _BOTH_S, piece.end.pts + GAP_S], "left"
        )
        for j in (int(k) for k in order[low:high]):
            later = pieces[j].start.pts > piece.start.pts and pieces[j].end.pts > piece.end.pts
            if shot[i] != shot[j] or not later:
                continue
            both = 0
            if pieces[j].start.pts <= piece.end.pts:
                frames = seen.frame_N[piece.rows], seen.frame_N[pieces[j].rows]
                both = np.intersect1d(*frames).size
                if both > _BOTH * min(len(frames[0]), len(frames[1])):
                    continue
            odds = motion_odds(piece.end, pieces[j].start, births, seen.size) - both
            if odds > -10:
                odds += float(likeness.ratio(apart(piece.looks, pieces[j].looks)))
                held = piece.end.tracklet == pieces[j].start.tracklet
                if odds > (0.0 if held else _SURE):
                    found[i, j] = odds
    return found


def _best(evidence: dict[tuple[int, int], float]) -> dict[int, int]:
    """The joins, end to start, whose total evidence is largest; each end and start used once."""
    joins = {}
    for pairs in _components(list(evidence)):
        ends, starts = sorted({i for i, _ in pairs}), sorted({j for _, j in pairs})
        similar = np.zeros((len(ends), len(starts)))
        for i, j in pairs:
            similar[ends.index(i), starts.index(j)] = evidence[i, j]
        for row, column in assign(similar, 1e-9):
            joins[ends[row]] = starts[column]
    return joins


def _components(pairs: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Pairs in groups that share no end and no start."""
    leader: dict[tuple[str, int], tuple[str, int]] = {}

    def find(node: tuple[str, int]) -> tuple[str, int]:
        while leader.setdefault(node, node) != node:
            leader[node] = leader[leader[node]]
            node = leader[node]
        return node

    for i, j in pairs:
        leader[find(("end", i))] = find(("start", j))
    groups: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for i, j in pairs:
        groups.setdefault(find(("end", i)), []).append((i, j))
    return list(groups.values())


def _chains(count: int, joins: dict[int, int]) -> list[list[int]]:
    """Pieces in the order in which joins follow them."""
    followed = set(joins.values())
    chains = []
    for first in range(count):
        if first not in followed:
            chain = [first]
            while chain[-1] in joins:
                chain.append(joins[chain[-1]])
            chains.append(chain)
    return chains
