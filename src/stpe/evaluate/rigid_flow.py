"""Optical flow of a world that stands still, from depth and the camera's step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stpe.geometry.intrinsics import Intrinsics

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


def rigid_flow(
    points_N2: F64, depth_N: NDArray[np.floating], step_44: F64, camera: Intrinsics
) -> tuple[F32, F32]:
    """Flow and depth in the second frame of points of the first, if nothing moves.

    Args:
        depth_N: along the optical axis of the first camera.
        step_44: pose of the second camera in the first one's frame, same length unit.
        camera: intrinsics of both.

    Returns:
        flow_N2 in px and z_N in the unit of the depth; NaN and z <= 0 behind the second camera.
    """
    depth = np.asarray(depth_N, np.float64)[:, None]
    first_N3 = np.concatenate([camera.rays(points_N2) * depth, depth], axis=1)
    second_N3 = (first_N3 - step_44[:3, 3]) @ step_44[:3, :3]
    z_N = second_N3[:, 2]
    front = np.where(z_N > 0, z_N, np.nan)[:, None]
    seen_N2 = second_N3[:, :2] / front * [camera.fx, camera.fy] + [camera.cx, camera.cy]
    return (seen_N2 - points_N2).astype(np.float32), z_N.astype(np.float32)


def stays_visible(
    landing_N2: F64, z_N: F32, second_depth_HW: F32, tolerance: float
) -> NDArray[np.bool_]:
    """Points that land inside the second frame and in front of nothing there.

    `second_depth_HW` is zero where unknown, which hides nothing; a landing point may lie behind
    the second frame's surface by 5 % plus `tolerance`.
    """
    height, width = second_depth_HW.shape
    with np.errstate(invalid="ignore"):
        inside = (z_N > 0) & (landing_N2 >= 0).all(1) & (landing_N2 < [width, height]).all(1)
    column, line = np.where(inside[:, None], landing_N2, 0).astype(np.int64).T
    there = second_depth_HW[line, column]
    return np.asarray(inside & ((there <= 0) | (z_N <= 1.05 * there + tolerance)))
