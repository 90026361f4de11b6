"""Which found object is which true one, frame by frame."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from stpe.evaluate.measure import NotScoredError
from stpe.evaluate.overlap import best_pairs, box_iou
from stpe.evaluate.truth import Truth, TruthObject
from stpe.evaluate.view import View
from stpe.rle import with_bytes

F64 = NDArray[np.float64]

#: Overlap from which a found object is taken to be the true one.
SAME = 0.5
_COLUMNS = (
    *("frame_index", "object_id", "label", "confidence", "box_xyxy", "mask_rle"),
    *("track_id", "track_confidence", "velocity_px_s", "object_velocity_px_s"),
    *("motion", "motion_confidence", "mask_confidence"),
)


@dataclass(frozen=True)
class Scene:
    """True and found objects of one frame.

    Attributes:
        frame: decoder index.
        truths: those that count. found: rows of `objects` that count, best first.
        overlap_TF: their intersection over union, of masks where both have them, else of boxes.
        scenery: rows of `objects` on nothing that is labelled, where everything is labelled.
    """

    frame: int
    truths: tuple[TruthObject, ...]
    found: tuple[dict[str, Any], ...]
    overlap_TF: F64
    scenery: tuple[dict[str, Any], ...]

    def pairs(self, least: float = SAME) -> list[tuple[TruthObject, dict[str, Any], float]]:
        """One-to-one matches with at least this overlap, the most overlap in total."""
        rows, columns = best_pairs(np.where(self.overlap_TF >= least, self.overlap_TF, 0.0))
        return [
            (self.truths[i], self.found[j], float(self.overlap_TF[i, j]))
            for i, j in zip(rows, columns, strict=True)
            if self.overlap_TF[i, j] >= least
        ]


def need_objects(truth: Truth) -> None:
    """Raise NotScoredError where the truth knows no objects."""
    if truth.objects is None:
        raise NotScoredError("the truth has no objects")


def scenes(view: View, truth: Truth, boxes_only: bool = False) -> list[Scene]:
    """Every frame that was analysed and labelled.

    Found objects of classes that are not labelled are left out, and those that lie on something
    ignored rather than on something that counts.

    Raises:
        NotScoredError: there is no such frame, or no truth or signal of objects.
    """
    need_objects(truth)
    rows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    known = [c for c in _COLUMNS if c != "mask_rle" or not boxes_only]
    view.need("objects", "box_xyxy", "objects")
    for row in view.rows("objects", known):
        rows[row["frame_index"]].append(row)
    frames = [int(i) for i in view.analysed if int(i) in (truth.objects or {})]
    if not frames:
        raise NotScoredError("no analysed frame is labelled")
    return [_scene(truth, index, rows[index]) for index in frames]


def _scene(truth: Truth, index: int, rows: list[dict[str, Any]]) -> Scene:
    there = (truth.objects or {})[index]
    if truth.labelled:
        rows = [row for row in rows if row["label"] in truth.labelled]
    rows = sorted(rows, key=lambda row: (-(row["confidence"] or 0.0), row["object_id"]))
    counted = [not item.ignored for item in there]
    overlap = _overlap(there, rows)
    on_ignored, untouched = _set_aside(overlap, np.array(counted, np.bool_), _inside(there, rows))
    everything = truth.labelled is None
    kept = [j for j in range(len(rows)) if not on_ignored[j]]
    return Scene(
        index,
        tuple(item for item, counts in zip(there, counted, strict=True) if counts),
        tuple(rows[j] for j in kept),
        overlap[np.flatnonzero(counted)][:, kept],
        tuple(rows[j] for j in kept if untouched[j]) if everything else (),
    )


def _set_aside(
    overlap_TF: F64, counted_T: NDArray[np.bool_], inside_TF: F64
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(on something ignored, on nothing labelled) of every found object.

    COCO's rule for ignored regions: what lies mostly inside one, and matches nothing that counts,
    is neither right nor wrong.
    """
    if not overlap_TF.size:
        none = np.zeros(overlap_TF.shape[1], np.bool_)
        return none, ~none
    best = np.where(counted_T[:, None], overlap_TF, 0).max(axis=0)
    within = np.where(counted_T[:, None], 0, np.maximum(overlap_TF, inside_TF)).max(axis=0)
    return (best < SAME) & (within >= SAME), inside_TF.max(axis=0) < 0.1


def _overlap(truths: tuple[TruthObject, ...], rows: list[dict[str, Any]]) -> F64:
    if not truths or not rows:
        return np.zeros((len(truths), len(rows)))
    if all(t.mask_rle for t in truths) and all(row.get("mask_rle") for row in rows):
        return _mask_iou(truths, rows, crowd=False)
    return box_iou(_boxes(truths), np.array([row["box_xyxy"] for row in rows]))


def _inside(truths: tuple[TruthObject, ...], rows: list[dict[str, Any]]) -> F64:
    """Share of each found object that lies on each true one, T x F."""
    if not truths or not rows:
        return np.zeros((len(truths), len(rows)))
    if all(t.mask_rle for t in truths) and all(row.get("mask_rle") for row in rows):
        return _mask_iou(truths, rows, crowd=True)
    a_T14 = _boxes(truths)[:, None]
    b_1F4 = np.array([row["box_xyxy"] for row in rows], np.float64)[None]
    size = np.minimum(a_T14[..., 2:], b_1F4[..., 2:]) - np.maximum(a_T14[..., :2], b_1F4[..., :2])
    area = (b_1F4[..., 2:] - b_1F4[..., :2]).prod(axis=-1)
    return np.asarray(np.maximum(size, 0).prod(axis=-1) / np.maximum(area, 1e-9))


def _mask_iou(truths: tuple[TruthObject, ...], rows: list[dict[str, Any]], crowd: bool) -> F64:
    """T x F; as for a crowd: shared pixels over the pixels of the found object."""
    true = [with_bytes(t.mask_rle) for t in truths if t.mask_rle]
    found = [with_bytes(row["mask_rle"]) for row in rows]
    return np.asarray(coco.iou(found, true, [int(crowd)] * len(true)), np.float64).T


def home_of_tracks(seen: Sequence[Scene]) -> dict[int, int]:
    """Track to the true identity that it is on most of the time."""
    votes: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for scene in seen:
        for true, row, _ in scene.pairs():
            if row["track_id"] is not None:
                votes[row["track_id"]][true.identity] += 1
    return {track: max(count, key=lambda i: (count[i], -i)) for track, count in votes.items()}


def _boxes(truths: tuple[TruthObject, ...]) -> F64:
    return np.array([t.box_xyxy for t in truths], np.float64).reshape(-1, 4)
