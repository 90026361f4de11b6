"""How far the whole picture moved from one frame to the next, cheaply, at any speed a hand makes.

Pictures a hundred pixels wide, every frame: a fast turn that flow at ten a second cannot follow is
a few of these pixels a frame. The median vector of dense flow (Kroeger et al., "Fast Optical Flow
using Dense Inverse Search", ECCV 2016) is not drawn by what moves itself or is fixed to the screen
unless that fills half of the picture.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from stpe.video.frame import ImageHW3

#: Grey levels over the standard deviation of a picture below which it shows nothing.
_BLANK = 2.0


class Glancer:
    """Compares each picture with the one before. Not for use by several threads."""

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._flow.setFinestScale(1)

    def shift(self, earlier: ImageHW3, later: ImageHW3) -> NDArray[np.float64] | None:
        """Median flow [u right, v down] as a share of the longer side; None for blank pictures."""
        a, b = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (earlier, later))
        if min(a.std(), b.std()) < _BLANK or min(a.shape) < 16:
            return None
        flow_HW2 = self._flow.calc(a, b, np.zeros((*a.shape, 2), np.float32))
        return np.asarray(np.median(flow_HW2, axis=(0, 1)) / max(a.shape), np.float64)
