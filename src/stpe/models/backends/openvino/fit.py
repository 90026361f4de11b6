"""Bringing an image to a size that a fully convolutional network takes."""

from __future__ import annotations

import math
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from stpe.video.frame import ImageHW3


@cache
def fit_size(width: int, height: int, multiple: int, pixels: int) -> tuple[int, int]:
    """The (width, height), both multiples of `multiple` and at most `pixels` in area, that best
    keeps the aspect ratio and spends the budget (a relative error of either counts the same).

    >>> fit_size(1920, 1080, 32, 384 * 640)
    (640, 384)
    >>> fit_size(768, 576, 32, 384 * 640)
    (576, 416)
    """
    budget = pixels // (multiple * multiple)

    def loss(columns: int, rows: int) -> float:
        aspect = math.log(columns / rows * height / width)
        return abs(aspect) + abs(math.log(columns * rows / budget))

    sizes = [(c, budget // c) for c in range(1, budget + 1)]
    sizes += [(budget // r, r) for r in range(1, budget + 1)]
    columns, rows = min(sizes, key=lambda size: (loss(*size), size))
    return columns * multiple, rows * multiple


def resized(image: ImageHW3, width: int, height: int) -> NDArray[np.uint8]:
    """The image stretched to width x height: averaged when it shrinks, bilinear when it grows."""
    if image.shape[:2] == (height, width):
        return image
    shrinks = width < image.shape[1] and height < image.shape[0]
    kind = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=kind), np.uint8)


def planar(image: ImageHW3, scale: float = 1 / 255) -> NDArray[np.float32]:
    """1x3xHxW float32 of an HxWx3 image, times `scale`."""
    planes = np.ascontiguousarray(image.transpose(2, 0, 1)[None])
    return planes.astype(np.float32) * np.float32(scale)
