"""Masks: region similarity J and contour accuracy F of each true object."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from stpe.evaluate.masks import contour_accuracy
from stpe.evaluate.matching import Scene, need_objects, scenes
from stpe.evaluate.measure import Belief, Measure, NotScoredError, Series
from stpe.evaluate.truth import Truth
from stpe.evaluate.view import View
from stpe.rle import decode_mask, with_bytes

F64 = NDArray[np.float64]


def score(view: View, truth: Truth) -> list[Measure]:
    """J and F of the mask that fits each true object best, and J of one track a true object."""
    need_objects(truth)
    view.need("objects", "mask_rle", "objects")
    seen = [s for s in scenes(view, truth) if s.truths and all(t.mask_rle for t in s.truths)]
    if not seen:
        raise NotScoredError("the truth has no masks")
    frames, regions, contours = [], [], []
    for scene in seen:
        overlap = _overlap(scene)
        for i in range(len(scene.truths)):
            j = int(overlap[i].argmax()) if overlap.shape[1] else -1
            frames.append(scene.frame)
            regions.append(float(overlap[i, j]) if j >= 0 else 0.0)
            contours.append(_contour(scene, i, j) if regions[-1] > 0 else 0.0)
    n, blocks = len(frames), view.blocks
    measures = [
        Measure(
            "objects.mask_rle",
            name,
            "1",
            "higher",
            n,
            "true masks",
            blocks.mean(frames, values),
            note="an object without any mask on it counts as 0",
            series=_series(frames, regions) if name.startswith("J") else None,
            belief=_belief(seen) if name.startswith("J") else None,
        )
        for name, values in (("J, best instance", regions), ("F, best instance", contours))
    ]
    if view.known("objects", "track_id"):
        where, one_track = _one_track(seen)
        measures.append(
            Measure(
                "objects.mask_rle",
                "J, one track",
                "1",
                "higher",
                n,
                "true masks",
                blocks.mean(where, one_track),
                note="the track that fits each object best over the video; 0 where it is absent",
            )
        )
    return measures


def _overlap(scene: Scene) -> F64:
    found = [row for row in scene.found if row["mask_rle"]]
    if not found:
        return np.zeros((len(scene.truths), 0))
    true = [with_bytes(t.mask_rle) for t in scene.truths if t.mask_rle]
    return np.asarray(coco.iou([with_bytes(r["mask_rle"]) for r in found], true, [0] * len(true))).T


def _contour(scene: Scene, i: int, j: int) -> float:
    found = [row for row in scene.found if row["mask_rle"]]
    mask = scene.truths[i].mask_rle
    assert mask is not None
    return contour_accuracy(decode_mask(mask), decode_mask(found[j]["mask_rle"]))


def _one_track(seen: list[Scene]) -> tuple[list[int], list[float]]:
    totals: dict[int, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    each: list[tuple[int, int, dict[int, float]]] = []
    for scene in seen:
        found = [row for row in scene.found if row["mask_rle"]]
        overlap = _overlap(scene)
        for i, true in enumerate(scene.truths):
            by_track: dict[int, float] = defaultdict(float)
            for j, row in enumerate(found):
                if row["track_id"] is not None:
                    track = row["track_id"]
                    by_track[track] = max(by_track[track], float(overlap[i, j]))
            for track, value in by_track.items():
                totals[true.identity][track] += value
            each.append((scene.frame, true.identity, by_track))
    best = {i: max(t, key=lambda k: (t[k], -k)) for i, t in totals.items() if t}
    values = [by_track.get(best.get(i, -1), 0.0) for _, i, by_track in each]
    return [frame for frame, _, _ in each], values


def _series(frames: list[int], regions: list[float]) -> Series:
    index = np.unique(frames)
    error = [
        1 - np.mean([r for f, r in zip(frames, regions, strict=True) if f == i]) for i in index
    ]
    return Series(index.astype(np.int64), np.array(error), "1 - J")


def _belief(seen: list[Scene]) -> Belief | None:
    pairs = [
        (row["mask_confidence"], overlap)
        for scene in seen
        for _, row, overlap in scene.pairs()
        if row.get("mask_confidence") is not None
    ]
    if not pairs:
        return None
    confidence, overlap = np.array(pairs, np.float64).T
    return Belief(np.clip(confidence, 0, 1), overlap, "the overlap itself")
