"""How far the whole picture moved and grew from one frame to the next, cheaply, at any speed a
hand makes.

Pictures a hundred pixels wide, every frame: a fast turn that flow at ten a second cannot follow is
a few of these pixels a frame. The median vector of dense flow (Kroeger et al., "Fast Optical Flow
using Dense Inverse Search", ECCV 2016) is not drawn by what moves itself or is fixed to the screen
unless that fills half of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from stpe.video.frame import ImageHW3

#: Grey levels over the standard deviation of a picture below which it shows nothing.
_BLANK = 2.0


#: Distance from the picture's middle, as a share of the longer side, from which flow tells growth.
_LEAST_RADIUS = 0.1


@dataclass(frozen=True)
class Glance:
    """How a picture differs from the one before.

    Attributes:
        shift_2: median flow [u right, v down] as a share of the longer side.
        growth: median share by which the picture grew about its middle, shift left out.
    """

    shift_2: NDArray[np.float64]
    growth: float


class Glancer:
    """Compares each picture with the one before. Not for use by several threads."""

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._flow.setFinestScale(1)

    def look(self, earlier: ImageHW3, later: ImageHW3) -> Glance | None:
        """How the later picture differs; None for blank pictures."""
        a, b = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (earlier, later))
        if min(a.std(), b.std()) < _BLANK or min(a.shape) < 16:
            return None
        flow_HW2 = self._flow.calc(a, b, np.zeros((*a.shape, 2), np.float32)) / max(a.shape)
        shift_2 = np.asarray(np.median(flow_HW2, axis=(0, 1)), np.float64)
        height, width = a.shape
        place_2HW = np.mgrid[:height, :width]
        x_HW = (place_2HW[1] - (width - 1) / 2) / max(a.shape)
        y_HW = (place_2HW[0] - (height - 1) / 2) / max(a.shape)
        square_HW = x_HW**2 + y_HW**2
        outer = square_HW > _LEAST_RADIUS**2
        rest_HW2 = flow_HW2 - shift_2
        outward_HW = rest_HW2[..., 0] * x_HW + rest_HW2[..., 1] * y_HW
        return Glance(shift_2, float(np.median(outward_HW[outer] / square_HW[outer])))
