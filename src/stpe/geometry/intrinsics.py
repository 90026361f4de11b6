"""Pinhole intrinsics: what the user gave, or an assumed field of view."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stpe.geometry.supplied import supplied

F64 = NDArray[np.float64]

#: Across the longer side; phones, webcams and most games lie between 55 and 90 degrees.
ASSUMED_FOV_DEG = 65.0


@dataclass(frozen=True, slots=True)
class Intrinsics:
    """Pinhole camera in pixels of the stored frame; pixel centres at half-integers."""

    fx: float
    fy: float
    cx: float
    cy: float

    @property
    def matrix(self) -> F64:
        """3x3 K."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], np.float64)

    def rays(self, points_N2: F64) -> F64:
        """Nx2 image points at depth one."""
        return (points_N2 - [self.cx, self.cy]) / [self.fx, self.fy]


def intrinsics(camera: str, width: int, height: int) -> Intrinsics:
    """Intrinsics from the request's JSON (`stpe.geometry.supplied`), or assumed without any.

    >>> intrinsics("", 640, 480).cx
    320.0

    Raises:
        UsageError: the JSON is not as it should be.
    """
    known = supplied(camera)
    if known.numbers is None:
        focal = max(width, height) / 2 / math.tan(math.radians(ASSUMED_FOV_DEG / 2))
        return Intrinsics(focal, focal, width / 2, height / 2)
    fx, fy, cx, cy = known.numbers
    if known.normalised:
        return Intrinsics(fx * width, fy * height, cx * width, cy * height)
    return Intrinsics(fx, fy, cx, cy)
