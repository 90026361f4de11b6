"""Objects found at all: average precision, precision and recall.

Source: Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014 (AP over overlaps
0.50:0.05:0.95, 101 recall points); numbers agree with pycocotools' COCOeval.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stpe.evaluate.matching import SAME, Scene, need_objects, scenes
from stpe.evaluate.measure import Belief, Figure, Measure, NotScoredError, Series
from stpe.evaluate.overlap import box_iou
from stpe.evaluate.truth import Truth
from stpe.evaluate.view import View

F64 = NDArray[np.float64]

OVERLAPS: F64 = np.linspace(0.5, 0.95, 10)
_RECALLS: F64 = np.linspace(0, 1, 101)


def score(view: View, truth: Truth) -> list[Measure]:
    """Boxes, whatever they are called, against true ones of the labelled classes."""
    need_objects(truth)
    view.need("objects", "box_xyxy", "objects")
    if not truth.instances:
        raise NotScoredError("the truth is one foreground, not objects: see the masks")
    seen = scenes(view, truth, boxes_only=True)
    frames = np.array([scene.frame for scene in seen], np.int64)
    overlaps = [_overlap(scene) for scene in seen]
    truths = np.array([len(scene.truths) for scene in seen])
    if not truths.sum():
        raise NotScoredError("no labelled object is large enough to be asked for")
    hits = np.array([greedy(overlap, SAME).any(axis=0).sum() for overlap in overlaps])
    found = np.array([overlap.shape[1] for overlap in overlaps])
    n, blocks = int(truths.sum()), view.blocks
    missed = Series(frames, 1 - hits / np.maximum(truths, 1), "share missed")
    best = Measure(
        "objects.box_xyxy",
        "overlap of the best box",
        "1",
        "higher",
        n,
        "true boxes",
        blocks.ratio(frames, [o.max(axis=1, initial=0).sum() for o in overlaps], truths),
    )
    recall = Measure(
        "objects.box_xyxy",
        "recall at 0.5",
        "1",
        "higher",
        n,
        "true boxes",
        blocks.ratio(frames, hits, truths),
        series=missed,
    )
    if truth.labelled == frozenset():
        return [recall, best]
    what = "everything but what is labelled counts as false" if truth.labelled is None else ""
    named = "class-agnostic" if truth.labelled is None else "/".join(sorted(truth.labelled))
    confidences = [np.array([r["confidence"] or 0.0 for r in s.found], np.float64) for s in seen]
    precisions = (("AP", OVERLAPS), ("AP50", OVERLAPS[:1]))
    return [
        *(
            Measure(
                "objects.box_xyxy",
                f"{name}, {named}",
                "1",
                "higher",
                n,
                "true boxes",
                average_precision(
                    blocks.place(frames), overlaps, confidences, truths.astype(float), thresholds
                ),
                note=what,
                belief=_belief(overlaps, confidences) if name == "AP50" else None,
            )
            for name, thresholds in precisions
        ),
        Measure(
            "objects.box_xyxy",
            "precision at 0.5",
            "1",
            "higher",
            int(found.sum()),
            "found boxes",
            blocks.ratio(frames, hits, found),
            note=what,
        ),
        recall,
        best,
    ]


def _overlap(scene: Scene) -> F64:
    """Truths x found, best found first."""
    return box_iou(
        np.array([t.box_xyxy for t in scene.truths]).reshape(-1, 4),
        np.array([row["box_xyxy"] for row in scene.found]).reshape(-1, 4),
    )


def greedy(overlap_TF: F64, least: float) -> NDArray[np.bool_]:
    """Matches T x F of found objects, best first, each with the free true one it overlaps most."""
    matched = np.zeros(overlap_TF.shape, np.bool_)
    if not overlap_TF.size:
        return matched
    free = np.ones(overlap_TF.shape[0], np.bool_)
    for found in range(overlap_TF.shape[1]):
        candidates = np.where(free, overlap_TF[:, found], -1.0)
        best = int(candidates.argmax())
        if candidates[best] >= least - 1e-10:
            matched[best, found], free[best] = True, False
    return matched


def average_precision(
    place_N: NDArray[np.int64],
    overlaps: Sequence[F64],
    confidences: Sequence[F64],
    truths_N: F64,
    thresholds: F64,
) -> Figure:
    """AP, mean over thresholds, as a figure of block weights.

    Args:
        place_N: block of each frame. overlaps: T x F of each frame, best found first.
        confidences: of the found, in that order. truths_N: true objects of each frame.
    """
    confidence = np.concatenate([*confidences, np.zeros(0)])
    order = np.argsort(-confidence, kind="mergesort")
    owner = np.repeat(place_N, [len(c) for c in confidences])[order]
    right_AN = np.array(
        [
            np.concatenate([*(greedy(o, t).any(axis=0) for o in overlaps), np.zeros(0, np.bool_)])
            for t in thresholds
        ],
        np.float64,
    )[:, order]

    def figure(weights_B: F64) -> float:
        total = float(weights_B[place_N] @ truths_N)
        if total <= 0:
            return float("nan")
        weight = weights_B[owner]
        count = np.cumsum(weight)
        scores = []
        for right in right_AN:
            hits = np.cumsum(weight * right)
            precision = np.divide(hits, count, out=np.zeros_like(hits), where=count > 0)
            envelope = np.maximum.accumulate(precision[::-1])[::-1]
            at = np.searchsorted(hits / total, _RECALLS - 1e-12, side="left")
            scores.append(np.concatenate([envelope, [0.0]])[at].mean())
        return float(np.mean(scores))

    return figure


def _belief(overlaps: Sequence[F64], confidences: Sequence[F64]) -> Belief | None:
    if not sum(len(c) for c in confidences):
        return None
    right = np.concatenate([greedy(o, SAME).any(axis=0) for o in overlaps])
    return Belief(
        np.concatenate(confidences),
        right.astype(np.float64),
        "the box is a labelled object's, overlap 0.5",
    )
