"""Optical flow of a world that stands still, from depth and the camera's step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stpe.geometry.intrinsics import Intrinsics

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


def rigid_flow(depth_HW: F32, step_44: F64, camera: Intrinsics) -> tuple[F32, F32]:
    """Flow and depth in the second frame of every pixel of the first, if nothing moves.

    Args:
        depth_HW: along the optical axis of the first camera.
        step_44: pose of the second camera in the first one's frame, same length unit.
        camera: intrinsics of both.

    Returns:
        flow_HW2 in px and z_HW in the unit of the depth; NaN and z <= 0 behind the second camera.
    """
    height, width = depth_HW.shape
    x_HW, y_HW = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    depth = depth_HW.astype(np.float64)
    first_HW3 = np.stack(
        [
            (x_HW - camera.cx) / camera.fx * depth,
            (y_HW - camera.cy) / camera.fy * depth,
            depth,
        ],
        axis=-1,
    )
    turn, move = step_44[:3, :3], step_44[:3, 3]
    second_HW3 = (first_HW3 - move) @ turn
    z_HW = second_HW3[..., 2]
    front = np.where(z_HW > 0, z_HW, np.nan)
    u = camera.fx * second_HW3[..., 0] / front + camera.cx - x_HW
    v = camera.fy * second_HW3[..., 1] / front + camera.cy - y_HW
    return np.stack([u, v], axis=-1).astype(np.float32), z_HW.astype(np.float32)


def stays_visible(
    flow_HW2: F32, z_HW: F32, second_depth_HW: F32, tolerance: float
) -> NDArray[np.bool_]:
    """Pixels that land inside the second frame and in front of nothing there.

    `second_depth_HW` is zero where unknown, which hides nothing; a landing point may lie behind
    the second frame's surface by 5 % plus `tolerance`.
    """
    height, width = z_HW.shape
    x_HW, y_HW = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    with np.errstate(invalid="ignore"):
        x, y = x_HW + flow_HW2[..., 0], y_HW + flow_HW2[..., 1]
        inside = (z_HW > 0) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    column = np.where(inside, x, 0).astype(np.int64)
    line = np.where(inside, y, 0).astype(np.int64)
    there = second_depth_HW[line, column]
    return np.asarray(inside & ((there <= 0) | (z_HW <= 1.05 * there + tolerance)))
