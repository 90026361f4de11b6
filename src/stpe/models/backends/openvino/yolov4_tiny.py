"""YOLOv4-tiny (Wang et al. 2021, arXiv 2011.08036), from darknet's own files.

Files: `cfg`, `weights`, `names` (one class a line). The input follows the image's aspect ratio
with a fixed pixel budget; images are stretched to it, as darknet's detector does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stpe.errors import ModelError
from stpe.models.backends.openvino import darknet
from stpe.models.backends.openvino.fit import fit_size, planar, resized
from stpe.models.backends.openvino.nms import detections
from stpe.models.backends.openvino.session import Session
from stpe.models.roles import F32, Detections
from stpe.models.weights import derived
from stpe.video.frame import ImageHW3

_STRIDE = 32
_OVERLAP = 0.45  # darknet's own suppression threshold


class YoloV4Tiny:
    """Role Detector. Scores are objectness times class probability."""

    def __init__(
        self, session: Session, heads: Sequence[darknet.YoloHead], labels: tuple[str, ...],
        pixels: int,
    ) -> None:  # fmt: skip
        self.labels = labels
        self._session = session
        self._heads = heads
        self._pixels = pixels

    def detect(self, images: Sequence[ImageHW3], threshold: float = 0.3) -> list[Detections]:
        """Boxes of each image whose score reaches `threshold`, best first, after NMS."""
        return [self._detect(image, threshold) for image in images]

    def _detect(self, image: ImageHW3, threshold: float) -> Detections:
        height, width = image.shape[:2]
        in_width, in_height = fit_size(width, height, _STRIDE, self._pixels)
        outputs = self._session.run([planar(resized(image, in_width, in_height))])
        found = [
            _decode(output[0], head, (in_width, in_height), threshold)
            for output, head in zip(outputs, self._heads, strict=True)
        ]
        boxes, scores, classes = (np.concatenate(parts) for parts in zip(*found, strict=True))
        boxes *= np.array([width, height, width, height], np.float32)
        return detections(boxes, scores, classes, self.labels, (width, height), _OVERLAP)

    def close(self) -> None:
        """Free the compiled graph."""
        self._session.close()


def _decode(
    raw_Chw: F32, head: darknet.YoloHead, size: tuple[int, int], threshold: float
) -> tuple[F32, F32, NDArray[np.int64]]:
    """Boxes (xyxy as a share of the image), scores and classes that reach `threshold`."""
    rows, columns = raw_Chw.shape[1:]
    grid = raw_Chw.reshape(len(head.anchors_A2), 5 + head.classes, rows, columns)
    # The class factor is at most one, so objectness alone rules most cells out.
    anchor, y, x = np.nonzero(_sigmoid(grid[:, 4]) >= threshold)
    cells = grid[anchor, :, y, x]
    probabilities = _sigmoid(cells[:, 4:5]) * _sigmoid(cells[:, 5:])
    classes = probabilities.argmax(axis=1)
    scores = probabilities[np.arange(len(classes)), classes]
    offset = _sigmoid(cells[:, :2]) * head.scale_xy - (head.scale_xy - 1) / 2
    centre = (offset + np.stack([x, y], axis=1)) / np.array([columns, rows])
    half = np.exp(cells[:, 2:4]) * head.anchors_A2[anchor] / np.array(size) / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
    keep = scores >= threshold
    return boxes[keep], scores[keep], classes[keep]


def _sigmoid(x: F32) -> F32:
    return np.asarray(1 / (1 + np.exp(-x)), np.float32)


def load(files: Mapping[str, Path], options: Mapping[str, Any]) -> YoloV4Tiny:
    """Options: `pixels`, the input's area (default 384 * 640)."""
    sections = darknet.read_cfg(files["cfg"])
    heads = darknet.yolo_heads(sections)
    labels = tuple(files["names"].read_text(encoding="utf-8").split("\n"))
    labels = tuple(name.strip() for name in labels if name.strip())
    if any(head.classes != len(labels) for head in heads):
        raise ModelError(f"{files['names'].name} does not name the classes of {files['cfg'].name}")
    graph = derived(
        [files["cfg"], files["weights"]],
        "yolov4_tiny.onnx",
        "1",
        lambda path: darknet.build(sections, files["weights"]).save(path),
    )
    session = Session(graph, name="yolov4-tiny")
    return YoloV4Tiny(session, heads, labels, int(options.get("pixels", 384 * 640)))
