"""Lengths in the picture as lengths in the world, with what is not known of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stpe.geometry.intrinsics import Intrinsics

F64 = NDArray[np.float64]

_LEAST_CELLS = 40


@dataclass(frozen=True)
class Metric:
    """Factor from a depth map's numbers to `unit`, and its relative standard deviation."""

    factor: float
    spread: float
    unit: str


def factor_between(relative_N: F64, known_N: F64) -> tuple[float, float] | None:
    """Median of known over relative depth, and robust relative deviation of one cell around it.

    NaN cells are left out; None with too few of both.
    """
    good = np.isfinite(relative_N) & np.isfinite(known_N) & (relative_N > 0) & (known_N > 0)
    if good.sum() < _LEAST_CELLS:
        return None
    ratio = np.log(known_N[good] / relative_N[good])
    middle = float(np.median(ratio))
    return float(np.exp(middle)), 1.4826 * float(np.median(np.abs(ratio - middle)))


def velocity(
    velocity_px_2: F64, std_px: float, depth: float, spread: float, camera: Intrinsics
) -> tuple[F64, float]:
    """Velocity along the camera's x and y axes at a depth, and its standard deviation an axis.

    Args:
        velocity_px_2: image velocity without the camera's part, pixels a second.
        std_px: its deviation. depth: along the optical axis. spread: relative deviation of depth
            and focal length together.
    """
    moved = velocity_px_2 * depth / [camera.fx, camera.fy]
    noise = std_px * depth / min(camera.fx, camera.fy)
    return moved, float(np.hypot(noise, spread * float(np.linalg.norm(moved))))
