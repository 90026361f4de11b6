"""How boxes move in the image: what the flow inside one says, and what the camera alone would do.

Boxes are (cx, cy, w, h) float64 in stored-frame pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stpe.geometry.field import FlowField
from stpe.geometry.homography import transform

F64 = NDArray[np.float64]

#: Half-extents of the part of a box whose flow is read, as shares of its width and height:
#: the rim is often background.
_INNER = np.array([0.3, 0.4])
#: Summed confidence of samples below which the flow inside a box says nothing.
_LEAST_TRUST = 0.5


def box_flow(field: FlowField, box_4: F64) -> F64 | None:
    """Weighted median flow in the inner part of a box; None where it cannot be trusted."""
    h, w = field.shape
    cell = np.array([field.size[0] / w, field.size[1] / h])
    half = np.maximum(_INNER * box_4[2:], cell)
    low = np.clip(np.ceil((box_4[:2] - half) / cell - 0.5), 0, [w, h]).astype(int)
    high = np.clip(np.floor((box_4[:2] + half) / cell - 0.5) + 1, 0, [w, h]).astype(int)
    if (high <= low).any():
        return None
    inside = np.s_[low[1] : high[1], low[0] : high[0]]
    weight = field.weight_N.reshape(h, w)[inside].ravel()
    if weight.sum() < _LEAST_TRUST:
        return None
    flow = field.grid_hw2[inside].reshape(-1, 2)
    return np.array([_weighted_median(flow[:, axis], weight) for axis in (0, 1)])


def camera_step(matrix: F64 | None, box_4: F64) -> tuple[F64, float]:
    """(shift of the box's centre, change of its scale) under a homography; none where unknown."""
    if matrix is None:
        return np.zeros(2), 1.0
    centre, side = box_4[:2], max(1.0, float(box_4[2:].min()) / 4)
    moved = transform(matrix, centre + np.array([[0, 0], [side, 0], [0, side]]))
    if not np.isfinite(moved).all():
        return np.zeros(2), 1.0
    (a, c), (b, d) = moved[1] - moved[0], moved[2] - moved[0]
    scale = float(np.sqrt(abs(a * d - b * c))) / side
    return moved[0] - centre, float(np.clip(scale, 0.5, 2.0))


def _weighted_median(values: F64, weight: F64) -> float:
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])
