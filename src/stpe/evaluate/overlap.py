"""Overlap of boxes and of masks, and optimal one-to-one matching on it."""

from __future__ import annotations

import lap
import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


def box_iou(boxes_N4: NDArray[np.floating], boxes_M4: NDArray[np.floating]) -> F64:
    """Intersection over union, NxM, of boxes given as xyxy. An empty box overlaps nothing."""
    a_N14 = np.asarray(boxes_N4, np.float64).reshape(-1, 1, 4)
    b_1M4 = np.asarray(boxes_M4, np.float64).reshape(1, -1, 4)
    top_left = np.maximum(a_N14[..., :2], b_1M4[..., :2])
    size = np.maximum(np.minimum(a_N14[..., 2:], b_1M4[..., 2:]) - top_left, 0)
    shared = size[..., 0] * size[..., 1]
    union = _area(a_N14) + _area(b_1M4) - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def _area(boxes: F64) -> F64:
    size = np.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    return np.asarray(size[..., 0] * size[..., 1])


def best_pairs(score_NM: F64) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rows, columns) of the one-to-one matching with the greatest total score.

    Every row is matched when N <= M (and the other way round), however low its score: the caller
    drops pairs it does not want.
    """
    if 0 in score_NM.shape:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    _, column_of_row, _ = lap.lapjv(-np.asarray(score_NM, np.float64), extend_cost=True)
    rows = np.flatnonzero(column_of_row >= 0)
    return rows.astype(np.int64), column_of_row[rows].astype(np.int64)
