"""What is known of things followed through a video, before it is settled who is who.

Shape legend: N observations, K descriptors of looks, D their length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stpe.tracking.likeness import differences

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Looks = tuple[F64, ...]

CLEAR = 0.1  # overlap with another thing below which a look is one thing's alone


@dataclass(frozen=True)
class Observed:
    """Observations in tracklets, in any order.

    Attributes:
        pts_N: seconds; frame_N: frame numbers.
        boxes_N4: (cx, cy, w, h).
        tracklet_N, shot_N: numbers, of a tracklet from 1, or 0 for none; nothing is joined over
            shots.
        scores_N: 0..1.
        looks: K arrays, N x D, unit length; rows of NaN where unknown.
        camera_N2: how far the camera alone has moved the picture's middle by then, px.
        size: of the picture.
    """

    pts_N: F64
    frame_N: I64
    boxes_N4: F64
    tracklet_N: I64
    shot_N: I64
    scores_N: F64
    looks: Sequence[F64]
    camera_N2: F64
    size: tuple[int, int]

    def tracklets(self) -> list[I64]:
        """Rows of each tracklet in order of time."""
        order = np.lexsort((self.frame_N, self.tracklet_N))
        order = order[self.tracklet_N[order] > 0]
        return np.split(order, np.flatnonzero(np.diff(self.tracklet_N[order])) + 1)

    def look(self, rows: I64, crowd_N: F64) -> Looks:
        """The mean look of some observations, of those that nothing else overlaps where there are
        such; NaN where it is unknown."""
        clear = rows[crowd_N[rows] < CLEAR]
        if not len(clear):
            clear = rows
        looks = []
        for look_ND in self.looks:
            known = clear[np.isfinite(look_ND[clear]).all(axis=1)]
            mean = (look_ND[known] * self.scores_N[known, None]).sum(axis=0)
            length = float(np.linalg.norm(mean))
            looks.append(mean / length if length > 0 else np.full(look_ND.shape[1], np.nan))
        return tuple(looks)


def apart(a: Looks, b: Looks) -> F64:
    """K log differences of two looks."""
    return differences(np.array([float(x @ y) for x, y in zip(a, b, strict=True)]))
