"""Splitting the flow inside an object into what the camera does and what the object does.

Static or moving is a choice between two Gaussian models of what the camera leaves unexplained. A
static object leaves flow noise and, if the camera moves, parallax along its epipolar line; a
moving one leaves its own motion on top, in any direction. Motion along the epipolar line is
therefore weak evidence, motion across it strong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stpe.geometry.field import FlowField
from stpe.geometry.homography import transform
from stpe.geometry.intrinsics import Intrinsics
from stpe.geometry.rotation import matrix_of

F64 = NDArray[np.float64]

#: Deviation that flow has beyond its spread within an object: constant, in pixels of the flow's
#: grid, and as a share of its length.
_NOISE, _NOISE_SHARE = 0.15, 0.04
#: Samples are closer than flow can resolve: so many count as one.
_DEPENDENT = 3.0
_LEAST_TRUST = 0.3  # summed weight of samples inside an object
#: A moving object's speed in its own sides (roots of area) a second.
_OWN_SPEED = 0.5
_BEHIND = 3.0  # deviations by which an object must lie behind the scene to be doubted


@dataclass(frozen=True)
class CameraModel:
    """What the camera did over an interval, for every sample of its field.

    Attributes:
        induced_N2: flow of the dominant plane, pixels.
        spread_px: robust deviation of the background around it.
        line_N2: unit direction of each sample's epipolar line; zeros without translation.
        parallax_px: typical length of the flow that translation causes; zero without.
    """

    induced_N2: F64
    spread_px: float
    line_N2: F64
    parallax_px: float


@dataclass(frozen=True)
class ObjectFlow:
    """Displacement of an object over one interval, pixels.

    `moved_2` with isotropic deviation `std`; `camera_2` what the camera alone gives, or None;
    `log_odds` of moving against static, or None without camera.
    """

    moved_2: F64
    std: float
    camera_2: F64 | None
    log_odds: float | None


def camera_model(
    field: FlowField, homography: F64, rotation_rad: F64, move: F64 | None, camera: Intrinsics
) -> CameraModel:
    """The model of one interval from its stored homography, rotation and direction."""
    induced = np.nan_to_num(transform(homography, field.points_N2) - field.points_N2)
    trusted = field.weight_N > 0.1
    residual = np.abs(field.flow_N2 - induced)[trusted]
    spread = 1.4826 * float(np.median(residual)) if residual.size else field.unit
    line = np.zeros_like(induced)
    if move is None or not trusted.any():
        return CameraModel(induced, spread, line, 0.0)
    # Points at infinity show rotation alone; translation pulls away from them along the line.
    turn = matrix_of(rotation_rad).T
    focal = np.array([camera.fx, camera.fy])
    rays = camera.rays(field.points_N2) @ turn[:, :2].T + turn[:, 2]
    rotated = rays[:, :2] / np.maximum(rays[:, 2:], 1e-3)
    pull = -turn @ move
    line = (pull[:2] - rotated * pull[2]) * focal
    line = line / np.maximum(np.linalg.norm(line, axis=1, keepdims=True), 1e-12)
    rest = field.flow_N2 - (rotated * focal + [camera.cx, camera.cy] - field.points_N2)
    parallax = float(np.median(np.linalg.norm(rest[trusted], axis=1)))
    return CameraModel(induced, spread, line, parallax)


def object_flow(
    field: FlowField, inside_N: NDArray[np.bool_], side_px: float, seconds: float,
    camera: CameraModel | None,
) -> ObjectFlow | None:  # fmt: skip
    """Measure one object from the samples inside it; None where they cannot be trusted."""
    weight = field.weight_N[inside_N]
    if weight.sum() < _LEAST_TRUST:
        return None
    flow = field.flow_N2[inside_N]
    moved, spread, count = _robust_mean(flow, weight, 0.2 * field.unit)
    noise = _NOISE * field.unit + _NOISE_SHARE * float(np.linalg.norm(moved))
    std = float(np.hypot(spread / np.sqrt(max(1.0, count / _DEPENDENT)), noise))
    if camera is None:
        return ObjectFlow(moved, std, None, None)
    induced = np.average(camera.induced_N2[inside_N], axis=0, weights=weight)
    line = np.average(camera.line_N2[inside_N], axis=0, weights=weight)
    own = _OWN_SPEED * side_px * seconds
    odds = _log_odds(moved - induced, std**2 + camera.spread_px**2, line, camera.parallax_px, own)
    return ObjectFlow(moved, std, induced, odds)


def _robust_mean(flow_N2: F64, weight_N: F64, floor: float) -> tuple[F64, float, float]:
    """(mean, deviation an axis, effective count) with Cauchy weights around the median."""
    mean = np.median(flow_N2, axis=0)
    for _ in range(5):
        gap = np.linalg.norm(flow_N2 - mean, axis=1)
        spread = max(floor, 1.4826 * float(np.median(gap)))
        weight = weight_N / (1 + (gap / spread) ** 2)
        mean = (flow_N2 * weight[:, None]).sum(axis=0) / max(float(weight.sum()), 1e-12)
    return mean, spread, float(weight.sum() ** 2 / max(float((weight**2).sum()), 1e-12))


def _log_odds(rest_2: F64, variance: float, line_2: F64, parallax: float, own: float) -> float:
    static = variance * np.eye(2) + parallax**2 * np.outer(line_2, line_2)
    moving = static + own**2 * np.eye(2)
    odds = _log_normal(rest_2, moving) - _log_normal(rest_2, static)
    # Parallax short of the dominant plane's puts a static object behind what it is seen before.
    behind = float(rest_2 @ line_2) < -_BEHIND * np.sqrt(variance)
    return max(odds, 0.0) if behind else odds


def _log_normal(x: F64, covariance: F64) -> float:
    return -0.5 * float(x @ np.linalg.solve(covariance, x) + np.log(np.linalg.det(covariance)))
