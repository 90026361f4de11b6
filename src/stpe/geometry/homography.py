"""The homography that most of the frame follows, from a flow field.

Several starting points are refined by reweighted least squares with a redescending loss whose
scale shrinks (Geman and McClure 1985; Black and Rangarajan 1996), and the one that the largest
area of the frame supports wins, so that a textured foreground does not outvote the background.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from stpe.geometry.field import FlowField

F64 = NDArray[np.float64]

_SCALES = (4.0, 2.0, 1.5, 1.0, 1.0)  # of the loss, in pixels of the flow's own grid
_SAMPLED = 400  # pairs that the consensus of samples is sought among
_LEAST_SUPPORT = 24.0  # summed weight of samples: three times the unknowns
#: Prior deviation of the six terms beyond a shift, on a frame scaled to unit half-diagonal.
_PRIOR = np.array([0.3, 0.3, 0.0, 0.3, 0.3, 0.0, 0.1, 0.1])


@dataclass(frozen=True)
class HomographyFit:
    """`matrix` 3x3 maps earlier pixels to later ones, last entry one; `inlier_share` of the field's
    weight follows it."""

    matrix: F64
    inlier_share: float


def transform(matrix: F64, points_N2: F64) -> F64:
    """Points through a homography; not finite where they fall behind it."""
    homogeneous = points_N2 @ matrix[:, :2].T + matrix[:, 2]
    depth = homogeneous[:, 2:]
    return homogeneous[:, :2] / np.where(depth > 1e-9, depth, np.nan)


def fit_homography(field: FlowField) -> HomographyFit | None:
    """Fit the dominant homography; None where too little of the frame can be trusted."""
    weight = _spread(field)
    if field.weight_N.sum() < _LEAST_SUPPORT:
        return None
    to_unit = _normaliser(field.size)
    scale = to_unit[0, 0]
    source = transform(to_unit, field.points_N2)
    target = transform(to_unit, field.points_N2 + field.flow_N2)
    noise = field.unit * scale
    best: F64 | None = None
    best_support = 0.0
    moments = _Moments(source, target, weight)
    for start in _starts(source, target, weight, noise):
        matrix = _refine(start, moments, noise)
        squared, _ = moments.squared_residual(matrix)
        support = float((weight / (1 + squared / noise**2)).sum())
        if support > best_support * 1.001:
            best, best_support = matrix, support
    if best is None:
        return None
    matrix = np.linalg.inv(to_unit) @ best @ to_unit
    matrix /= matrix[2, 2]
    return _judge(matrix, field)


def _judge(matrix: F64, field: FlowField) -> HomographyFit | None:
    model = transform(matrix, field.points_N2) - field.points_N2
    if not np.isfinite(model).all():
        return None
    residual = field.flow_N2 - model
    inlier = np.linalg.norm(residual, axis=1) < tolerance_px(field)
    return HomographyFit(matrix, float(field.weight_N[inlier].sum() / field.weight_N.sum()))


def tolerance_px(field: FlowField) -> F64:
    """How far a sample may lie off the model and still follow it; fast flow is less exact."""
    return np.asarray(field.unit + 0.05 * np.linalg.norm(field.flow_N2, axis=1))


def _spread(field: FlowField) -> F64:
    """Weights with each block of the frame made to count by its area rather than its texture."""
    h, w = field.shape
    grid = field.weight_N.reshape(h, w).astype(np.float32)
    around = cv2.blur(grid, (9, 9), borderType=cv2.BORDER_REFLECT)
    return np.asarray(grid / (around + 0.1), np.float64).reshape(-1)


def _normaliser(size: tuple[int, int]) -> F64:
    half = np.hypot(*size) / 2
    x, y = size[0] / 2, size[1] / 2
    return np.asarray(np.array([[1, 0, -x], [0, 1, -y], [0, 0, half]]) / half)


def _starts(source: F64, target: F64, weight: F64, noise: float) -> list[F64]:
    """No motion, the median shift, and the consensus of samples."""
    flow = target - source
    trusted = weight > 0.2 * weight.max()
    shift = np.eye(3)
    shift[:2, 2] = np.median(flow[trusted], axis=0)
    starts = [np.eye(3), shift]
    few = np.flatnonzero(trusted)
    few = few[:: max(1, len(few) // _SAMPLED)]
    if len(few) < 4:  # fewer than a homography takes
        return starts
    found, _ = cv2.findHomography(
        source[few], target[few], cv2.USAC_MAGSAC, noise, maxIters=500, confidence=0.99
    )
    if found is not None and np.isfinite(found).all() and abs(found[2, 2]) > 1e-6:
        starts.append(found / found[2, 2])
    return starts


def _refine(matrix: F64, moments: _Moments, noise: float) -> F64:
    prior = np.zeros(8)
    prior[_PRIOR > 0] = (noise / _PRIOR[_PRIOR > 0]) ** 2
    rest = np.array([1.0, 0, 0, 0, 1, 0, 0, 0])
    for scale in _SCALES:
        squared, depth = moments.squared_residual(matrix)
        loss = moments.weight_N / (1 + squared / (scale * noise) ** 2) ** 2
        loss /= np.maximum(depth, 0.1) ** 2
        normal, right = moments.equations(loss)
        normal += np.diag(prior + 1e-9)
        matrix = np.append(np.linalg.solve(normal, right + prior * rest), 1.0).reshape(3, 3)
    return matrix


class _Moments:
    """Point pairs ready for repeated weighted fits of h: (x, y) -> (u, v), h[2, 2] = 1.

    The normal equations of a homography hold nothing but weighted sums of the products of
    {x^2, xy, x, y^2, y, 1} and {1, u, v, u^2 + v^2}, so that one small matrix product makes them.
    """

    def __init__(self, source_N2: F64, target_N2: F64, weight_N: F64) -> None:
        x, y = np.ascontiguousarray(source_N2.T)
        self._u, self._v = np.ascontiguousarray(target_N2.T)
        self.weight_N = weight_N
        one = np.ones_like(x)
        self._source_3N = np.stack([x, y, one])
        self._products_N6 = np.stack([x * x, x * y, x, y * y, y, one]).T
        self._factors_4N = np.stack([one, self._u, self._v, self._u**2 + self._v**2])

    def squared_residual(self, matrix: F64) -> tuple[F64, F64]:
        """Squared distance of each target to its mapped source, infinite where the source falls
        behind the homography, and the depth there."""
        across, down, depth = matrix @ self._source_3N
        with np.errstate(divide="ignore", invalid="ignore"):
            squared = (self._u - across / depth) ** 2 + (self._v - down / depth) ** 2
        squared[~(depth > 1e-9)] = np.inf
        return squared, depth

    def equations(self, loss_N: F64) -> tuple[F64, F64]:
        """Left 8x8 and right 8 of the least squares weighted by `loss_N`."""
        sums = (self._factors_4N * loss_N) @ self._products_N6
        plain, by_u, by_v, by_both = (_symmetric(row) for row in sums)
        left = np.zeros((8, 8))
        left[:3, :3] = left[3:6, 3:6] = plain
        left[:3, 6:] = -by_u[:, :2]
        left[3:6, 6:] = -by_v[:, :2]
        left[6:, :6] = left[:6, 6:].T
        left[6:, 6:] = by_both[:2, :2]
        return left, np.concatenate([by_u[:, 2], by_v[:, 2], -by_both[:2, 2]])


def _symmetric(sums_6: F64) -> F64:
    """The 3x3 sum of (x, y, 1)(x, y, 1)' from its six different entries."""
    return np.asarray(sums_6[[[0, 1, 2], [1, 3, 4], [2, 4, 5]]])
