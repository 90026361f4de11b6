"""From raw candidate boxes to the detections of one image."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from stpe.models.roles import F32, Detections


def detections(
    boxes_N4: F32,
    scores_N: F32,
    classes_N: NDArray[np.int64],
    labels: Sequence[str],
    size: tuple[int, int],
    overlap: float,
) -> Detections:
    """Greedy non-maximum suppression within each class, best first.

    Args:
        boxes_N4: xyxy pixels, may reach outside the image.
        scores_N: already at or above the caller's threshold.
        classes_N: index into `labels`.
        size: (width, height) to clip to; boxes that lie outside are dropped.
        overlap: IoU above which the weaker of two boxes of one class goes.
    """
    width, height = size
    clipped = np.clip(boxes_N4, 0, [width, height, width, height]).astype(np.float32)
    extent = clipped[:, 2:] - clipped[:, :2]
    keep = np.flatnonzero((extent > 0.5).all(axis=1))
    if len(keep):
        xywh = np.concatenate([clipped[:, :2], extent], axis=1)[keep]
        chosen = cv2.dnn.NMSBoxesBatched(
            xywh.tolist(), scores_N[keep].tolist(), classes_N[keep].tolist(), 0.0, overlap
        )
        keep = keep[np.asarray(chosen, np.int64)]
        keep = keep[np.lexsort((keep, -scores_N[keep]))]
    return Detections(
        clipped[keep],
        scores_N[keep].astype(np.float32),
        tuple(labels[c] for c in classes_N[keep]),
    )
