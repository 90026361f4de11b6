"""MoveNet MultiPose Lightning (Google, 2021): up to six people, 17 COCO joints each.

File: `movenet.tflite`. The input follows the image's aspect ratio with a fixed pixel budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stpe.models.backends.openvino.fit import fit_size, resized
from stpe.models.backends.openvino.session import Session
from stpe.models.roles import Poses
from stpe.video.frame import ImageHW3

_MULTIPLE = 32


class MoveNet:
    """Role PoseEstimator. People the model holds less probable than `threshold` are left out."""

    def __init__(self, session: Session, pixels: int) -> None:
        self._session = session
        self._pixels = pixels

    def estimate(self, images: Sequence[ImageHW3], threshold: float = 0.3) -> list[Poses]:
        """People of each image, most probable first; joints in the image's pixels."""
        return [self._estimate(image, threshold) for image in images]

    def _estimate(self, image: ImageHW3, threshold: float) -> Poses:
        height, width = image.shape[:2]
        size = fit_size(width, height, _MULTIPLE, self._pixels)
        # Each of six rows: 17 x (y, x, score), then y0, x0, y1, x1, score, all as shares.
        people_656 = self._session.run([resized(image, *size)[None]])[0][0]
        order = np.argsort(-people_656[:, 55], kind="stable")
        people = people_656[order[people_656[order, 55] >= threshold]]
        joints = people[:, :51].reshape(-1, 17, 3)[..., [1, 0, 2]]
        joints *= np.array([width, height, 1], np.float32)
        boxes = people[:, [52, 51, 54, 53]] * np.array([width, height] * 2, np.float32)
        return Poses(boxes, joints, people[:, 55])

    def close(self) -> None:
        """Free the compiled graph."""
        self._session.close()


def load(files: Mapping[str, Path], options: Mapping[str, Any]) -> MoveNet:
    """Options: `pixels`, the input's area (default 256 * 448)."""
    session = Session(files["movenet.tflite"], name="movenet")
    return MoveNet(session, int(options.get("pixels", 256 * 448)))
