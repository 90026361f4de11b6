"""YOLO26 (Ultralytics 2026): boxes of named classes, without suppression of overlaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from stpe.models.backends.ultralytics.network import YoloNetwork
from stpe.models.roles import F32, Detections
from stpe.video.frame import ImageHW3


class YoloDetector:
    """Role Detector."""

    def __init__(self, network: YoloNetwork) -> None:
        self._network = network
        self.labels = network.names

    def detect(self, images: Sequence[ImageHW3], threshold: float = 0.3) -> list[Detections]:
        """Boxes of each image whose score passes `threshold`, best first; at most 300."""
        rows = self._network.batched(images, partial(self._network.predictions, threshold))
        return [self._detections(found) for found in rows]

    def _detections(self, rows: F32) -> Detections:
        names = tuple(self.labels[int(number)] for number in rows[:, 5])
        return Detections(rows[:, :4], rows[:, 4], names)

    def close(self) -> None:
        """Free the weights."""
        self._network.close()


def load(files: Mapping[str, Path], options: Mapping[str, Any]) -> YoloDetector:
    """From a checkpoint of the task "detect"."""
    return YoloDetector(YoloNetwork("detect", files["weights"], options))
