"""RF-DETR (Robinson et al. 2025, arXiv 2511.09554): boxes of named classes, without NMS."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from stpe.errors import ModelError
from stpe.models.coco import CATEGORIES
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
        self._names = class_names(network.config.id2label, int(network.config.num_labels))
        self.labels = tuple(name for name in self._names if name is not None)

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
            query, label = np.divmod(chosen, classes)
            named = np.array([i < len(self._names) and bool(self._names[i]) for i in label], bool)
            keep = (scores >= threshold) & named
            names = tuple(str(self._names[i]) for i in label[keep])
            found.append(Detections(boxes[query[keep]], scores[keep], names))
        return found

    def close(self) -> None:
        """Free the weights."""
        self._network.close()


def class_names(id2label: Mapping[Any, str], classes: int) -> tuple[str | None, ...]:
    """The name of each class by its number; None for a number that names nothing.

    A checkpoint of COCO's 91 classes whose configuration has no names, only transformers' own
    `LABEL_n`, has COCO's.

    >>> class_names({0: "car", "2": "dog"}, 3)
    ('car', None, 'dog')
    >>> class_names({n: f"LABEL_{n}" for n in range(91)}, 91)[1]
    'person'

    Raises:
        ModelError: there are no names, and the classes are not COCO's.
    """
    names = {int(number): name for number, name in id2label.items()}
    if all(re.fullmatch(r"LABEL_\d+|N/A", name) for name in names.values()):
        if classes != len(CATEGORIES):
            raise ModelError(
                f"config.json names none of the {classes} classes: add id2label to it, or no "
                "concept can be found by its name"
            )
        return CATEGORIES
    kept = (names.get(number) for number in range(max(classes, max(names) + 1)))
    return tuple(None if name in (None, "N/A") else name for name in kept)


def load(files: Mapping[str, Path], options: Mapping[str, Any]) -> RFDETR:
    """From a hub repository's folder. `dtype` is float32 by default on every device: bfloat16 tells
    boxes in steps of 1/256 of the image. `graphs` is ignored: the forward makes a tensor of host
    memory and waits for its copy, which no CUDA graph can record."""
    options = {"dtype": "float32", **options, "graphs": False}
    return RFDETR(Network("RfDetrForObjectDetection", files["repository"], options))
