"""Masks in COCO compressed run-length encoding, as `objects.mask_rle` holds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco


def encode_mask(mask_HW: NDArray[np.bool_], size: tuple[int, int] | None = None) -> dict[str, Any]:
    """`{"size": [h, w], "counts": "..."}` of an HxW bool mask, resized to `size` (h, w) if given.

    >>> rle = encode_mask(np.eye(3, dtype=bool))
    >>> bool((decode_mask(rle) == np.eye(3, dtype=bool)).all())
    True
    """
    height, width = size or mask_HW.shape
    pixels: Any = np.ascontiguousarray(mask_HW).view(np.uint8)
    if pixels.shape != (height, width):
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    # A transposed copy, seen the other way round, has its columns one after another; NumPy's own
    # conversion takes twenty times as long.
    counts = coco.encode(cv2.transpose(pixels).T)["counts"]
    return {"size": [int(height), int(width)], "counts": counts.decode("ascii")}


def decode_mask(rle: Mapping[str, Any]) -> NDArray[np.bool_]:
    """HxW bool mask of an encoded one."""
    return np.asarray(coco.decode(with_bytes(rle)), dtype=np.bool_)


def with_bytes(rle: Mapping[str, Any]) -> dict[str, Any]:
    """An encoded mask as pycocotools takes it: counts as bytes."""
    counts = rle["counts"]
    data = counts if isinstance(counts, bytes) else counts.encode("ascii")
    return {"size": list(rle["size"]), "counts": data}
