"""RF-DETR (Robinson et al. 2025, arXiv 2511.09554): boxes of named classes, without NMS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from stpe.models.roles import Detections
from stpe.models.torch_runtime.network import Network, import_torch
from stpe.video.frame import ImageHW3


class RFDETR:
    """Role Detector. Every image is stretched to the square that the network was trained on."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._settings = network.processor()
        size = self._settings.get("size", {})
        side = network.config.backbone_config.image_size
        self._size = (int(size.get("height", side)), int(size.get("width", side)))
        names = {int(number): label for number, label in network.config.id2label.items()}
        self.labels = tuple(names[number] for number in sorted(names))

    def detect(self, images: Sequence[ImageHW3], threshold: float = 0.3) -> list[Detections]:
        """Boxes of each image whose score reaches `threshold`, best first; as many as the network
        has queries, and as in training each query may name several classes."""
        return self._network.batched(images, partial(self._detect, threshold))

    def _detect(self, threshold: float, images: Sequence[ImageHW3]) -> list[Detections]:
        height, width = images[0].shape[:2]
        pixels = self._network.pixels(images, self._size, self._settings)
        answer = self._network.model(pixel_values=pixels)
        scores_NQK = answer.logits.float().sigmoid()
        count, queries, classes = scores_NQK.shape
        scores_NQ, chosen_NQ = scores_NQK.view(count, -1).topk(queries, sorted=True)
        centre, size = answer.pred_boxes.float().split(2, -1)
        boxes_NQ4 = import_torch().cat([centre - size / 2, centre + size / 2], -1).cpu().numpy()
        boxes_NQ4 = boxes_NQ4 * np.array([width, height] * 2, np.float32)
        boxes_NQ4 = np.clip(boxes_NQ4, 0, [width, height] * 2).astype(np.float32)
        found = []
        for boxes, scores, chosen in zip(
            boxes_NQ4, scores_NQ.cpu().numpy(), chosen_NQ.cpu().numpy(), strict=True
        ):
            keep = scores >= threshold
            query, label = np.divmod(chosen[keep], classes)
            names = tuple(self.labels[i] for i in label)
            found.append(Detections(boxes[query], scores[keep], names))
        return found

    def close(self) -> None:
        """Free the weights."""
        self._network.close()


def load(files: Mapping[str, Path], options: Mapping[str, Any]) -> RFDETR:
    """From a hub repository's folder. `dtype` is float32 by default on every device: bfloat16 tells
    boxes in steps of 1/256 of the image. `graphs` is ignored: the forward makes a tensor of host
    memory and waits for its copy, which no CUDA graph can record."""
    options = {"dtype": "float32", **options, "graphs": False}
    return RFDETR(Network("RfDetrForObjectDetection", files["repository"], options))
