"""Masks in COCO compressed run-length encoding, as `objects.mask_rle` holds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco


def decode_mask(rle: Mapping[str, Any]) -> NDArray[np.bool_]:
    """HxW bool mask from `{"size": [h, w], "counts": "..."}`."""
    counts = rle["counts"]
    encoded = {"size": list(rle["size"]), "counts": counts.encode("ascii")}
    return np.asarray(coco.decode(encoded), dtype=np.bool_)


def encode_mask(mask_HW: NDArray[np.bool_]) -> dict[str, Any]:
    """`{"size": [h, w], "counts": "..."}` of an HxW bool mask.

    >>> rle = encode_mask(np.eye(3, dtype=bool))
    >>> bool((decode_mask(rle) == np.eye(3, dtype=bool)).all())
    True
    """
    rle = coco.encode(np.asfortranarray(mask_HW, dtype=np.uint8))
    return {"size": [int(n) for n in rle["size"]], "counts": rle["counts"].decode("ascii")}
