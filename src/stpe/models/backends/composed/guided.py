"""A rough mask made exact: what the segmenter finds where the guess is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stpe.models.roles import F32, BoolNHW, GuessedSegmenter, Segmenter

_POINTS = 3
_MINOR = 0.1  # of the largest piece: smaller pieces of a guess do not stretch the box
_SMALLEST = 16  # pixels of a guess worth looking at


@dataclass(frozen=True, slots=True)
class Exact:
    """The segmenter's mask nearest to a guess, and their soft intersection over union."""

    mask_HW: NDArray[np.bool_]
    agreement: float


def exact(segmenter: Segmenter, encoded: Any, guess_HW: F32) -> Exact | None:
    """The nearest of the masks that the segmenter gives for a box around the guess and points
    inside it.

    Args:
        guess_HW: probability of the object, at the encoded image's size.

    Returns:
        None where the guess is too small to be anything.
    """
    pieces = main_pieces(guess_HW > 0.5)
    if pieces.sum() < _SMALLEST:
        return None
    ys, xs = np.nonzero(pieces.any(1))[0], np.nonzero(pieces.any(0))[0]
    box_4 = np.array([xs[0], ys[0], xs[-1] + 1, ys[-1] + 1], np.float32)
    masks_NHW = _considered(segmenter, encoded, box_4, _inside(pieces, guess_HW))
    agreements = [agreement(mask, guess_HW) for mask in masks_NHW]
    best = int(np.argmax(agreements))
    return Exact(masks_NHW[best], agreements[best])


def without(
    segmenter: Segmenter, encoded: Any, mask_HW: NDArray[np.bool_], off_P2: F32
) -> NDArray[np.bool_] | None:
    """A mask less what points off the object stand on: what the segmenter finds at each of them
    that does not hold the point deepest inside the mask, and farthest from them.

    Args:
        mask_HW: at the encoded image's size.
        off_P2: x and y.

    Returns:
        The mask itself where no point is on it; None where they cannot be told from it.
    """
    height, width = mask_HW.shape
    xs = np.clip(off_P2[:, 0].astype(int), 0, width - 1)
    ys = np.clip(off_P2[:, 1].astype(int), 0, height - 1)
    on = mask_HW[ys, xs]
    if not on.any():
        return mask_HW
    rest = mask_HW.copy()
    rest[ys, xs] = False
    deep_P2 = _inside(main_pieces(rest), rest.astype(np.float32))[:1]
    if not len(deep_P2):
        return None
    points_N22 = np.stack([off_P2[on], np.repeat(deep_P2, on.sum(), 0)], 1).astype(np.float32)
    labels_N2 = np.tile(np.array([1, 0], np.int32), (len(points_N22), 1))
    stood_on = segmenter.from_points(encoded, points_N22, labels_N2).masks_NHW.any(0)
    kept = np.asarray(mask_HW & ~stood_on)
    return None if kept[ys, xs].any() or not kept.any() else kept


def _considered(segmenter: Segmenter, encoded: Any, box_4: F32, points_P2: F32) -> BoolNHW:
    if isinstance(segmenter, GuessedSegmenter):
        return segmenter.candidates(encoded, box_4, points_P2).masks_NHW
    on_it = np.ones((1, len(points_P2)), np.int32)
    by_box = segmenter.from_boxes(encoded, box_4[None]).masks_NHW
    by_points = segmenter.from_points(encoded, points_P2[None], on_it).masks_NHW
    return np.concatenate([by_box, by_points])


def agreement(mask_HW: NDArray[Any], guess_HW: NDArray[Any]) -> float:
    """Soft intersection over union of two masks or probabilities, 0 where both are empty."""
    a, b = mask_HW.astype(np.float32), guess_HW.astype(np.float32)
    union = float(np.maximum(a, b).sum())
    return float(np.minimum(a, b).sum()) / union if union else 0.0


def main_pieces(mask_HW: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask without its minor pieces."""
    count, label_HW, stats, _ = cv2.connectedComponentsWithStats(mask_HW.astype(np.uint8))
    if count < 2:
        return np.zeros_like(mask_HW)
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    return np.asarray((areas >= _MINOR * areas.max())[label_HW] & (label_HW > 0))


def _inside(pieces_HW: NDArray[np.bool_], guess_HW: F32) -> F32:
    """Points far inside the object and far from each other, x and y of pixel centres."""
    padded = np.pad(pieces_HW.astype(np.uint8), 1)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1] * guess_HW
    points: list[tuple[float, float]] = []
    for _ in range(_POINTS):
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        if depth[y, x] <= 0:
            break
        points.append((x + 0.5, y + 0.5))
        cv2.circle(depth, (int(x), int(y)), int(2 * max(3.0, depth[y, x])), 0.0, -1)
    return np.array(points, np.float32)
