"""YOLO11 (Ultralytics) from its ONNX export, whose weights are AGPL-3.0.

File: `yolo11.onnx`; class names are in its metadata. The input follows the image's aspect ratio
with a fixed pixel budget.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from stpe.errors import ModelError
from stpe.models.backends.openvino.fit import fit_size, planar, resized
from stpe.models.backends.openvino.nms import detections
from stpe.models.backends.openvino.session import Session
from stpe.models.roles import Detections
from stpe.video.frame import ImageHW3

_STRIDE = 32
_OVERLAP = 0.7  # the exporter's own suppression threshold


class Yolo11:
    """Role Detector. Scores are class probabilities."""

    def __init__(self, session: Session, labels: tuple[str, ...], pixels: int) -> None:
        self.labels = labels
        self._session = session
        self._pixels = pixels

    def detect(self, images: Sequence[ImageHW3], threshold: float = 0.3) -> list[Detections]:
        """Boxes of each image whose score reaches `threshold`, best first, after NMS."""
        return [self._detect(image, threshold) for image in images]

    def _detect(self, image: ImageHW3, threshold: float) -> Detections:
        height, width = image.shape[:2]
        in_width, in_height = fit_size(width, height, _STRIDE, self._pixels)
        # A candidate a column: centre x, centre y, width, height in input pixels, then classes.
        candidates = self._session.run([planar(resized(image, in_width, in_height))])[0][0].T
        probabilities = candidates[:, 4:]
        classes = probabilities.argmax(axis=1)
        scores = probabilities[np.arange(len(classes)), classes]
        keep = scores >= threshold
        centre, half = candidates[keep, :2], candidates[keep, 2:4] / 2
        to_image = np.array([width / in_width, height / in_height] * 2, np.float32)
        boxes = np.concatenate([centre - half, centre + half], axis=1) * to_image
        return detections(
            boxes, scores[keep], classes[keep], self.labels, (width, height), _OVERLAP
        )

    def close(self) -> None:
        """Free the compiled graph."""
        self._session.close()


def load(files: Mapping[str, Path], options: Mapping[str, Any]) -> Yolo11:
    """Options: `pixels`, the input's area (default 384 * 640)."""
    graph = files["yolo11.onnx"]
    try:
        metadata = {p.key: p.value for p in onnx.load(str(graph)).metadata_props}
        names: dict[int, str] = ast.literal_eval(metadata["names"])
    except (KeyError, SyntaxError, ValueError) as error:
        raise ModelError(f"{graph.name} does not name its classes; export it again") from error
    labels = tuple(names[i] for i in range(len(names)))
    return Yolo11(Session(graph, name="yolo11"), labels, int(options.get("pixels", 384 * 640)))
