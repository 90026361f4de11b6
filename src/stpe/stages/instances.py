"""Instances of one frame: masks made tidy, measured, pooled and suppressed.

Shape legend: H W pixels of the analysed image, h w cells of the feature grid, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from stpe.models.roles import F32
from stpe.stages.cover import cover

MaskHW = NDArray[np.bool_]

SAME_OBJECT = 0.5  # mask IoU from which two masks are one object
SAME_MASK = 0.8  # mask IoU from which two names are for one object
PART = 0.8  # share of a mask inside another from which it is a part of it
WHOLE = 0.75  # of a part's confidence, which a whole must reach to replace it
SPECK = 0.05  # connected pieces smaller than this share of a mask are noise
_STEP = 4  # masks are compared at every fourth pixel each way


@dataclass(frozen=True, slots=True)
class Instance:
    """One object of one frame; `box_4` xyxy and `mask_HW` in pixels of the analysed image."""

    label: str
    confidence: float
    origin: str
    box_4: F32
    mask_HW: MaskHW | None = None
    mask_confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a frame on coarse grids; any of it may be missing.

    Attributes:
        dense_hwC: unit-length patch features.
        saliency_hw, motion_hw: 0..1.
    """

    dense_hwC: F32 | None = None
    saliency_hw: F32 | None = None
    motion_hw: F32 | None = None

    def objectness(self, mask_HW: MaskHW) -> float:
        """How far the mask differs from its immediate surroundings, 0..1.

        A noisy-or of feature contrast (cosine distance of mean features), saliency contrast and,
        at half weight, contrast of independent motion; times the share of its own outline
        that is not the image's border, and the share of that border it leaves free, squared, since
        what runs along the border is mostly background. The mask must not be empty.
        """
        doubt = 1.0
        box = tight_box(mask_HW)
        weights: dict[tuple[int, ...], tuple[F32, F32]] = {}
        for grid in (self.dense_hwC, self.saliency_hw, self.motion_hw):
            if grid is not None and grid.shape[:2] not in weights:
                weights[grid.shape[:2]] = _weights(cover(mask_HW, grid.shape[:2], box))
        if self.dense_hwC is not None:
            inside, around = weights[self.dense_hwC.shape[:2]]
            doubt *= 1 - np.clip(
                1 - _pool(self.dense_hwC, inside) @ _pool(self.dense_hwC, around), 0, 1
            )
        for map_hw, weight in ((self.saliency_hw, 1.0), (self.motion_hw, 0.5)):
            if map_hw is not None:
                inside, around = weights[map_hw.shape]
                contrast = (map_hw * inside).sum() - (map_hw * around).sum()
                doubt *= 1 - weight * np.clip(contrast, 0, 1)
        height, width = mask_HW.shape
        edge = sum(int(side.sum()) for side in (mask_HW[0], mask_HW[-1]))
        edge += sum(int(side.sum()) for side in (mask_HW[:, 0], mask_HW[:, -1]))
        x0, y0, x1, y1 = box
        outline = 2 * float(x1 - x0 + y1 - y0)
        cut = min(1.0, edge / outline)
        return float((1 - doubt) * (1 - cut) * max(0.0, 1 - edge / (2 * (height + width))) ** 2)

    def embedding(self, instance: Instance, height: int, width: int) -> F32 | None:
        """Dense features pooled inside the mask (or the box), unit L2."""
        if self.dense_hwC is None:
            return None
        mask_HW = instance.mask_HW
        if mask_HW is None:
            mask_HW = np.zeros((height, width), bool)
            x0, y0, x1, y1 = np.round(instance.box_4).astype(int)
            mask_HW[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = True
        inside = cover(mask_HW, self.dense_hwC.shape[:2], tight_box(mask_HW))
        return _pool(self.dense_hwC, inside / (inside.sum() + 1e-9))


def tidy(mask_HW: MaskHW) -> MaskHW:
    """Without specks: the connected pieces that hold at least SPECK of the mask."""
    if not mask_HW.any():
        return mask_HW
    x0, y0, x1, y1 = (int(v) for v in tight_box(mask_HW))
    part = np.ascontiguousarray(mask_HW[y0:y1, x0:x1])
    count, labels, stats, _ = cv2.connectedComponentsWithStats(part.view(np.uint8))
    areas = stats[:, cv2.CC_STAT_AREA]
    keep = areas >= SPECK * areas[1:].sum()
    if keep[1:].all():
        return mask_HW
    tidied = mask_HW.copy()
    for label in range(1, count):
        if not keep[label]:
            x, y, w, h = (int(v) for v in stats[label, : cv2.CC_STAT_AREA])
            speck = labels[y : y + h, x : x + w] == label
            tidied[y0 + y : y0 + y + h, x0 + x : x0 + x + w][speck] = False
    return tidied


def tight_box(mask_HW: MaskHW) -> F32:
    """xyxy around a mask that is not empty."""
    x, y, width, height = cv2.boundingRect(mask_HW.view(np.uint8))
    return np.array([x, y, x + width, y + height], np.float32)


def area(mask_HW: MaskHW) -> int:
    """Pixels of a mask."""
    return cv2.countNonZero(mask_HW.view(np.uint8))


def distinct(instances: Sequence[Instance], kept: Sequence[Instance] = ()) -> list[Instance]:
    """`instances`, best first, without those that repeat, or are part of, another or one of `kept`.

    Between a part and a whole nearly as good, the whole stays; a whole that is clearly worse than
    a part of it, holds two of `kept`, or holds two others without joining them, is taken for a
    group. All must have masks.
    """
    named = [_sampled(k.mask_HW) for k in kept if k.mask_HW is not None]
    chosen: list[tuple[Instance, MaskHW]] = []
    for instance in sorted(instances, key=lambda i: -i.confidence):
        mask = _sampled(instance.mask_HW)
        seen = [*named, *(m for _, m in chosen)]
        if any(_same(mask, m) or _inside(mask, m) for m in seen):
            continue
        parts = [part for part, m in chosen if _inside(m, mask)]
        holds = sum(_inside(m, mask) for m in named)
        if holds > 1 or (holds + len(parts) > 1 and not _in_one_piece(mask)):
            continue
        if any(instance.confidence < WHOLE * part.confidence for part in parts):
            continue
        chosen = [c for c in chosen if not any(c[0] is part for part in parts)]
        chosen.append((instance, mask))
    return [instance for instance, _ in chosen]


def one_name_each(named: Sequence[Instance]) -> list[Instance]:
    """`named`, best first, without those whose mask a better one already has, under another name.

    Two of one name are the detector's to tell apart.
    """
    kept: list[Instance] = []
    for instance in sorted(named, key=lambda i: -i.confidence):
        others = [k for k in kept if k.label != instance.label and k.mask_HW is not None]
        if instance.mask_HW is None or not any(
            _shared(_sampled(instance.mask_HW), _sampled(k.mask_HW)) > SAME_MASK for k in others
        ):
            kept.append(instance)
    return kept


def _shared(a_HW: MaskHW, b_HW: MaskHW) -> float:
    return float((a_HW & b_HW).sum() / max((a_HW | b_HW).sum(), 1))


def _same(a_HW: MaskHW, b_HW: MaskHW) -> bool:
    shared = (a_HW & b_HW).sum()
    return bool(shared > SAME_OBJECT * (a_HW.sum() + b_HW.sum() - shared))


def _in_one_piece(mask_HW: MaskHW) -> bool:
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask_HW.astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA]
    return bool(count > 1 and areas.max() > 0.9 * areas.sum())


def _inside(part_HW: MaskHW, whole_HW: MaskHW) -> bool:
    return bool((part_HW & whole_HW).sum() > PART * part_HW.sum())


def _sampled(mask_HW: MaskHW | None) -> MaskHW:
    assert mask_HW is not None
    return mask_HW[_STEP // 2 :: _STEP, _STEP // 2 :: _STEP]


def _weights(inside: F32) -> tuple[F32, F32]:
    """From how much of each cell the mask covers: that, and a band two cells wide around it; each
    sums to one."""
    core = (inside > 0.2).astype(np.uint8)
    around = (cv2.dilate(core, np.ones((5, 5), np.uint8)) - core) * (1 - inside)
    return inside / (inside.sum() + 1e-9), around / (around.sum() + 1e-9)


def _pool(dense_hwC: F32, weight_hw: F32) -> F32:
    pooled = np.tensordot(weight_hw, dense_hwC, 2)
    return np.asarray(pooled / (np.linalg.norm(pooled) + 1e-9), np.float32)
