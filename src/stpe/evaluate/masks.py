"""Region similarity J and contour accuracy F of masks.

Source: Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object
Segmentation", CVPR 2016; numbers agree with the DAVIS 2017 evaluation code.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

MaskHW = NDArray[np.bool_]


def region_similarity(truth_HW: MaskHW, predicted_HW: MaskHW) -> float:
    """J, intersection over union; 1 where both are empty."""
    union = np.logical_or(truth_HW, predicted_HW).sum()
    return float(np.logical_and(truth_HW, predicted_HW).sum() / union) if union else 1.0


def contour_accuracy(truth_HW: MaskHW, predicted_HW: MaskHW, tolerance: float = 0.008) -> float:
    """F, the F-measure of boundary pixels that lie within `tolerance` (a share of the image
    diagonal) of the other boundary; 1 where both are empty."""
    truth, predicted = _contour(truth_HW), _contour(predicted_HW)
    if not truth.any() or not predicted.any():
        return float(truth.any() == predicted.any())
    radius = math.ceil(tolerance * math.hypot(*truth_HW.shape))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disc = (x * x + y * y <= radius * radius).astype(np.uint8)
    precision = _share_near(predicted, truth, disc)
    recall = _share_near(truth, predicted, disc)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _share_near(contour: MaskHW, other: MaskHW, disc: NDArray[np.uint8]) -> float:
    near = cv2.dilate(other.astype(np.uint8), disc).astype(bool)
    return float((contour & near).sum() / contour.sum())


def _contour(mask_HW: MaskHW) -> MaskHW:
    """Pixels that differ from their right, lower or lower-right neighbour."""
    padded = np.pad(mask_HW.astype(bool), ((0, 1), (0, 1)), mode="edge")
    here = padded[:-1, :-1]
    return np.asarray(
        (here != padded[:-1, 1:]) | (here != padded[1:, :-1]) | (here != padded[1:, 1:])
    )
