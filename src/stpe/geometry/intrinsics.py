"""Pinhole intrinsics: what the user gave, or an assumed field of view."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stpe.errors import UsageError

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
    """Intrinsics from the request's JSON (`fx, fy, cx, cy`), or assumed where it is empty.

    >>> intrinsics("", 640, 480).cx
    320.0

    Raises:
        UsageError: the JSON is not an object of four numbers with positive focal lengths.
    """
    if not camera.strip():
        focal = max(width, height) / 2 / math.tan(math.radians(ASSUMED_FOV_DEG / 2))
        return Intrinsics(focal, focal, width / 2, height / 2)
    try:
        given = json.loads(camera)
        found = Intrinsics(*(float(given[name]) for name in ("fx", "fy", "cx", "cy")))
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError("--camera wants JSON with the numbers fx, fy, cx, cy in pixels") from error
    numbers = (found.fx, found.fy, found.cx, found.cy)
    if not all(map(math.isfinite, numbers)) or min(found.fx, found.fy) <= 0:
        raise UsageError("--camera: fx and fy must be positive, and all four numbers finite")
    return found
