"""Where the pixels of a mask went, and where that cannot be told."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from stpe.models.roles import F32

_LOST = 1e4  # px: the flow of a point outside the image agrees with nothing


def carried(mask_HW: F32, back_HW2: F32) -> F32:
    """The last frame's mask in this frame, by the flow from this frame back to the last; zero
    where that leads out of the image."""
    x, y = _came_from(back_HW2)
    return np.asarray(
        cv2.remap(mask_HW, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0),
        np.float32,
    )


def visible_before(back_HW2: F32, forth_HW2: F32) -> NDArray[np.bool_]:
    """Pixels of this frame that the last one shows too: the flow there and back returns.

    Paper: Sundaram et al., Dense Point Trajectories by GPU-Accelerated Large Displacement Optical
    Flow, 2010, equation 5, with room for half a pixel more of error.
    """
    x, y = _came_from(back_HW2)
    border = (_LOST, _LOST, 0, 0)
    returned = cv2.remap(
        forth_HW2, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=border
    )
    error = ((back_HW2 + returned) ** 2).sum(-1)
    length = (back_HW2**2).sum(-1) + (returned**2).sum(-1)
    return np.asarray(error < 0.05 * length + 1.0)


def _came_from(back_HW2: F32) -> tuple[F32, F32]:
    height, width = back_HW2.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return x + back_HW2[..., 0], y + back_HW2[..., 1]
