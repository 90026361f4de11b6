"""How much of each cell of a coarse grid a mask covers."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from stpe.models.roles import F32


def cover(mask_HW: NDArray[np.bool_], shape_hw: tuple[int, int], box_xyxy: F32) -> F32:
    """hxw float32, the share 0..1 of each cell's area that lies inside the mask.

    `box_xyxy`, whole numbers, holds the mask: only its pixels are looked at. The mask is summed up
    once (Crow, Summed-area tables for texture mapping, 1984) and the sums are read, linearly
    between pixels, where the cells' borders cross.
    """
    x0, y0, x1, y1 = (int(v) for v in box_xyxy)
    part = np.ascontiguousarray(mask_HW[y0:y1, x0:x1])
    sums = cv2.integral(part.view(np.uint8))
    sums = _read(sums, mask_HW.shape[0], shape_hw[0], y0)
    sums = _read(sums.T, mask_HW.shape[1], shape_hw[1], x0).T
    cell = mask_HW.size / (shape_hw[0] * shape_hw[1])
    return np.asarray(np.diff(np.diff(sums, axis=0), axis=1) / cell, np.float32)


def _read(sums: NDArray[np.generic], pixels: int, cells: int, start: int) -> NDArray[np.float64]:
    """Rows of running sums that begin at pixel `start`, at the borders of the cells."""
    border = np.clip(np.linspace(0, pixels, cells + 1) - start, 0, len(sums) - 1)
    low = np.minimum(border.astype(int), max(len(sums) - 2, 0))
    return np.asarray(sums[low] + (border - low)[:, None] * (sums[low + 1] - sums[low]))
