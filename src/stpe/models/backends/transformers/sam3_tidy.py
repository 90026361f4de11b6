"""What SAM 3 does to masks after its networks, where transformers would fetch a kernel from the
hub and otherwise leaves it out: suppression of duplicates, filling of holes.

Legend: K detections of one prompt, N masks, H W their low resolution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from stpe.models.torch_runtime.network import import_torch

if TYPE_CHECKING:
    import torch

_FILLED, _REMOVED = 0.1, -0.1  # logits of changed pixels


def overlaps(masks_KHW: torch.Tensor, others_NHW: torch.Tensor) -> torch.Tensor:
    """Intersection over union of bool masks, K x N; 0 where both are empty."""
    a, b = masks_KHW.flatten(1).float(), others_NHW.flatten(1).float()
    shared = a @ b.T
    return shared / (a.sum(1)[:, None] + b.sum(1) - shared).clamp(min=1)


def distinct(scores_K: torch.Tensor, logits_KHW: torch.Tensor, threshold: float) -> torch.Tensor:
    """Which masks stay: bool K. From the best score on, a mask takes away those that overlap it by
    more than `threshold` (greedy non-maximum suppression)."""
    torch = import_torch()
    masks = logits_KHW > 0
    close = (overlaps(masks, masks) > threshold).cpu().numpy()
    keep = np.ones(len(scores_K), bool)
    order = np.argsort(-scores_K.float().cpu().numpy(), kind="stable")
    for place, best in enumerate(order):
        if keep[best]:
            later = order[place + 1 :]
            keep[later] &= ~close[best, later]
    return torch.from_numpy(keep).to(scores_K.device)


def tidied(logits_NHW: torch.Tensor, largest: int) -> torch.Tensor:
    """Without holes and loose specks of at most `largest` pixels (eight-connected); a speck that
    makes up more than half of its mask stays. Returns a new tensor where anything is done."""
    torch = import_torch()
    if largest <= 0 or not len(logits_NHW):
        return logits_NHW
    inside = (logits_NHW > 0).cpu().numpy()
    holes = np.stack([_small(~mask, largest) for mask in inside])
    inside |= holes
    specks = np.stack([_small(mask, min(largest, int(mask.sum()) // 2)) for mask in inside])
    changed = logits_NHW.clone()
    changed[torch.from_numpy(holes).to(changed.device)] = _FILLED
    changed[torch.from_numpy(specks).to(changed.device)] = _REMOVED
    return changed


def _small(mask_HW: np.ndarray, largest: int) -> np.ndarray:
    """Pixels of the pieces that have at most `largest` pixels."""
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(mask_HW.astype(np.uint8), connectivity=8)
    small = stats[:, cv2.CC_STAT_AREA] <= largest
    small[0] = False  # what is not of the mask
    return np.asarray(small[pieces])
