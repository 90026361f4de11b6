"""Where unnamed objects may be: boxes from saliency, feature regions and independent motion.

All of it is parameter-free grouping on a coarse grid; a segmenter then turns boxes to masks.

Shape legend: h w rows and columns of a grid, C channels, N regions.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stpe.models.roles import F32

#: A proposal covering more of the image than this is background or the image itself.
LARGEST_SHARE = 0.5
SALIENCY_LEVELS = (0.35, 0.5, 0.65)


def propose(
    saliency_hw: F32 | None,
    dense_hwC: NDArray[Any] | None,
    motion_hw: F32 | None,
    limit: int,
) -> F32:
    """At most `limit` distinct boxes (xyxy, shares of width and height), best evidence first.

    Saliency regions and moving regions come first; feature regions fill what is left.
    """
    boxes: list[F32] = []
    if motion_hw is not None:
        boxes += level_boxes(motion_hw, (0.5,))
    if saliency_hw is not None:
        boxes += level_boxes(saliency_hw, SALIENCY_LEVELS)
    boxes = _distinct(boxes, (limit + 1) // 2)
    if dense_hwC is not None:
        boxes += feature_boxes(dense_hwC, 2 * limit)
    return np.array(_distinct(boxes, limit), np.float32).reshape(-1, 4)


def level_boxes(map_hw: F32, levels: Sequence[float]) -> list[F32]:
    """Boxes of the connected regions of a 0..1 map above each level, largest mass first."""
    height, width = map_hw.shape
    found = []
    for level in levels:
        above = (map_hw > level).astype(np.uint8)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(above, connectivity=4)
        for label in range(1, count):
            x, y, w, h, area = (int(v) for v in stats[label])
            if area <= LARGEST_SHARE * map_hw.size:
                mass = float(map_hw[labels == label].sum())
                box = np.array([x / width, y / height, (x + w) / width, (y + h) / height], "f4")
                found.append((mass, box))
    return [box for _, box in sorted(found, key=lambda item: -item[0])]


def feature_boxes(dense_hwC: NDArray[Any], limit: int) -> list[F32]:
    """Boxes of the most persistent regions of a Ward clustering of neighbouring patches.

    A region's persistence is the distance at which it is absorbed into a larger one, less the
    distance at which it was complete: what differs from its surroundings lives long.
    Source: Ward, Hierarchical grouping to optimize an objective function, 1963, merging only
    regions that touch, on unit-length features.
    """
    rows, columns, channels = dense_hwC.shape
    count = rows * columns
    total = 2 * count - 1
    flat = dense_hwC.reshape(count, channels).astype(np.float32)
    flat = flat / (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-9)
    size = [1] * count + [0] * (count - 1)
    born, died = np.zeros(total), np.zeros(total)
    box = np.zeros((total, 4), np.float32)  # x0, y0, -x1, -y1: merged by one minimum
    y, x = np.divmod(np.arange(count), columns)
    box[:count] = np.stack([x, y, -x - 1, -y - 1], 1)

    # A region's feature sum is in the row of one of its patches, `place`.
    place = list(range(count)) + [0] * (count - 1)
    square = np.einsum("nc,nc->n", flat, flat).astype(np.float64).tolist() + [0.0] * (count - 1)
    neighbours: list[set[int]] = [set() for _ in range(total)]
    index = np.arange(count).reshape(rows, columns)
    first = np.concatenate([index[:, :-1].ravel(), index[:-1].ravel()])
    second = np.concatenate([index[:, 1:].ravel(), index[1:].ravel()])
    gap_E = np.square(flat[first] - flat[second]).sum(1, dtype=np.float64)
    # A heap of (growth of the within-region spread if the two were joined, the two regions).
    heap = list(
        zip((np.maximum(gap_E, 0) / 2).tolist(), first.tolist(), second.tolist(), strict=True)
    )
    for _, a, b in heap:
        neighbours[a].add(b)
        neighbours[b].add(a)
    heapq.heapify(heap)
    push, pop = heapq.heappush, heapq.heappop
    merged = [False] * total
    for new in range(count, total):
        growth, a, b = pop(heap)
        while merged[a] or merged[b]:
            growth, a, b = pop(heap)
        merged[a] = merged[b] = True
        born[new] = died[a] = died[b] = max(growth, born[a], born[b])
        m = size[new] = size[a] + size[b]
        box[new] = np.minimum(box[a], box[b])
        here = place[new] = place[a]
        joined_C = flat[here] = flat[here] + flat[place[b]]
        square[new] = float(joined_C @ joined_C)
        others = (neighbours[a] | neighbours[b]) - {a, b}
        neighbours[new] = others
        own = square[new] / (m * m)
        products = (flat[[place[other] for other in others]] @ joined_C).tolist()
        for other, product in zip(others, products, strict=True):
            near = neighbours[other]
            near.discard(a)
            near.discard(b)
            near.add(new)
            n = size[other]
            gap = square[other] / (n * n) + own - 2 * product / (m * n)
            push(heap, (gap * m * n / (m + n) if gap > 0 else 0.0, other, new))

    persistence = np.sqrt(died) - np.sqrt(born)
    sizes = np.array(size)
    persistence[(sizes < 2) | (sizes > LARGEST_SHARE * count)] = 0
    order = np.argsort(-persistence, kind="stable")[:limit]
    shares = np.abs(box[order]) / np.array([columns, rows, columns, rows], np.float32)
    return list(shares[persistence[order] > 0])


def _distinct(boxes: Sequence[F32], limit: int) -> list[F32]:
    """The first `limit` boxes that are not nearly one that came before (IoU 0.8)."""
    kept: list[F32] = []
    for box in boxes:
        if len(kept) == limit:
            break
        if not kept or box_iou(box[None], np.array(kept))[0].max() < 0.8:
            kept.append(box)
    return kept


def box_iou(a_N4: F32, b_M4: F32) -> F32:
    """Intersection over union of each pair of xyxy boxes, NxM."""
    low = np.maximum(a_N4[:, None, :2], b_M4[None, :, :2])
    high = np.minimum(a_N4[:, None, 2:], b_M4[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    areas = [np.clip(b[:, 2:] - b[:, :2], 0, None).prod(-1) for b in (a_N4, b_M4)]
    return np.asarray(shared / (areas[0][:, None] + areas[1][None] - shared + 1e-9), np.float32)
