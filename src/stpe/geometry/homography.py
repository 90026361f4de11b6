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
_LEAST_SUPPORT = 24.0  # summed weight of samples: three times the unknowns
#: Prior deviation of the six terms beyond a shift, on a frame scaled to unit half-diagonal.
_PRIOR = np.array([0.3, 0.3, 0.0, 0.3, 0.3, 0.0, 0.1, 0.1])


@dataclass(frozen=True)
class HomographyFit:
    """`matrix` 3x3 maps earlier pixels to later ones, last entry one.

    `residual_N2` is flow minus the model's flow, `inlier_N` which samples follow it,
    `inlier_share` their share of the field's weight, `sigma_px` the inliers' robust deviation.
    """

    matrix: F64
    residual_N2: F64
    inlier_N: NDArray[np.bool_]
    inlier_share: float
    sigma_px: float


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
    for start in _starts(source, target, weight, noise):
        matrix = _refine(start, source, target, weight, noise)
        residual = np.linalg.norm(target - transform(matrix, source), axis=1)
        support = float(np.nansum(weight / (1 + (residual / noise) ** 2)))
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
    size = np.linalg.norm(residual, axis=1)
    inlier = size < tolerance_px(field)
    trusted = field.weight_N > 0
    share = float(field.weight_N[inlier].sum() / field.weight_N.sum())
    kept = residual[inlier & trusted]
    sigma = 1.4826 * float(np.median(np.abs(kept))) if len(kept) else field.unit
    return HomographyFit(matrix, residual, inlier & trusted, share, max(sigma, 0.05 * field.unit))


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
    found, _ = cv2.findHomography(
        source[trusted], target[trusted], cv2.USAC_MAGSAC, noise, maxIters=500, confidence=0.99
    )
    if found is not None and np.isfinite(found).all() and abs(found[2, 2]) > 1e-6:
        starts.append(found / found[2, 2])
    return starts


def _refine(matrix: F64, source: F64, target: F64, weight: F64, noise: float) -> F64:
    x, y = source.T
    u, v = target.T
    one, zero = np.ones_like(x), np.zeros_like(x)
    rows_u = np.stack([x, y, one, zero, zero, zero, -u * x, -u * y], axis=1)
    rows_v = np.stack([zero, zero, zero, x, y, one, -v * x, -v * y], axis=1)
    prior = np.zeros(8)
    prior[_PRIOR > 0] = (noise / _PRIOR[_PRIOR > 0]) ** 2
    rest = np.array([1.0, 0, 0, 0, 1, 0, 0, 0])
    for scale in _SCALES:
        depth = source @ matrix[2, :2] + 1
        residual = np.linalg.norm(target - transform(matrix, source), axis=1)
        loss = weight / (1 + (residual / (scale * noise)) ** 2) ** 2 / np.maximum(depth, 0.1) ** 2
        loss = np.where(np.isfinite(loss), loss, 0.0)
        normal = (rows_u * loss[:, None]).T @ rows_u + (rows_v * loss[:, None]).T @ rows_v
        normal += np.diag(prior + 1e-9)
        right = rows_u.T @ (loss * u) + rows_v.T @ (loss * v) + prior * rest
        matrix = np.append(np.linalg.solve(normal, right), 1.0).reshape(3, 3)
    return matrix
