"""What colours an object shows, from its top to its bottom.

Features of patches say what a thing is; two people are told apart by their clothes. In each of
three overlapping bands, top to bottom, the lightness, green-red and blue-yellow of the object's
pixels are counted in soft bins (CIE L*a*b*); square roots make the inner product of two such
profiles the Bhattacharyya coefficient (Comaniciu et al., Kernel-based object tracking, 2003).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from stpe.models.roles import F32
from stpe.video.frame import ImageHW3

_BINS = 8  # a channel
_CHROMA_BIN = 8.0  # width of a chroma bin: beyond four of them either way, all is one vivid colour
_BANDS = ((0.05, 0.30), (0.20, 0.55), (0.50, 0.95))  # shares of the height
_SIZE = (24, 48)  # width and height that objects are looked at in
_MIDDLE = 0.22  # without a mask, deviation across of what is the object, in widths of the box
LENGTH = 3 * 3 * _BINS


def color_profile(image: ImageHW3, box_4: F32, mask_HW: NDArray[np.bool_] | None) -> F32 | None:
    """72 numbers of unit length; None where the box holds no pixels of the object.

    Args:
        box_4: xyxy in pixels of the image.
        mask_HW: the object; None: the middle of the box.
    """
    height, width = image.shape[:2]
    x0, y0 = (int(v) for v in np.floor(np.maximum(box_4[:2], 0)))
    x1, y1 = int(min(np.ceil(box_4[2]), width)), int(min(np.ceil(box_4[3]), height))
    if x1 - x0 < 2 or y1 - y0 < 4:
        return None
    part = cv2.resize(image[y0:y1, x0:x1], _SIZE, interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(part, cv2.COLOR_RGB2LAB).astype(np.float32)
    if mask_HW is None:
        across = (np.arange(_SIZE[0]) + 0.5) / _SIZE[0] - 0.5
        weight = np.tile(np.exp(-0.5 * (across / _MIDDLE) ** 2), (_SIZE[1], 1))
    else:
        inside = np.ascontiguousarray(mask_HW[y0:y1, x0:x1]).view(np.uint8)
        weight = cv2.resize(inside * 255, _SIZE, interpolation=cv2.INTER_AREA) / 255.0
    bins = np.stack(
        [
            lab[..., 0] * (_BINS / 255),
            (lab[..., 1] - 128) / _CHROMA_BIN + _BINS / 2,
            (lab[..., 2] - 128) / _CHROMA_BIN + _BINS / 2,
        ],
        axis=-1,
    )
    share = np.maximum(1 - np.abs(np.clip(bins, 0.5, _BINS - 0.5)[..., None] - _CENTRES), 0)
    rows = (np.arange(_SIZE[1]) + 0.5) / _SIZE[1]
    profile = []
    for top, bottom in _BANDS:
        band = (rows >= top) & (rows < bottom)
        counted = np.tensordot(weight[band], share[band], 2)
        if counted.sum() <= 0:
            return None
        profile.append(np.sqrt(counted / counted.sum()))
    whole = np.concatenate(profile).ravel()
    return np.asarray(whole / np.linalg.norm(whole), np.float32)


_CENTRES = np.arange(_BINS) + 0.5
