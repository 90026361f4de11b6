"""YOLO26 pose (Ultralytics 2026): people with their 17 COCO joints in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from stpe.errors import ModelError
from stpe.models.backends.ultralytics.network import YoloNetwork
from stpe.models.roles import Poses
from stpe.video.frame import ImageHW3


class YoloPose:
    """Role PoseEstimator."""

    def __init__(self, network: YoloNetwork) -> None:
        if network.joints is None or tuple(network.joints) != (17, 3):
            raise ModelError(f"{network.folder} does not predict the 17 COCO joints")
        self._network = network

    def estimate(self, images: Sequence[ImageHW3], threshold: float = 0.3) -> list[Poses]:
        """People of each image whose score passes `threshold`, best first; at most 300."""
        rows = self._network.batched(images, partial(self._network.predictions, threshold))
        return [Poses(r[:, :4], r[:, 6:].reshape(-1, 17, 3), r[:, 4]) for r in rows]

    def close(self) -> None:
        """Free the weights."""
        self._network.close()


def load(files: Mapping[str, Path], options: Mapping[str, Any]) -> YoloPose:
    """From a checkpoint of the task "pose"."""
    return YoloPose(YoloNetwork("pose", files["weights"], options))
