"""Level two of a frame: named objects, and objects without a name.

Named ones are the detector's boxes, made masks by the segmenter. Unnamed ones are proposals, kept
where the segmenter finds a mask that stands out from its surroundings: from saliency, feature
regions and independent motion, which are coarse, and from boxes that the detector doubts, which may
be as small as it sees. What belongs to none of its classes still looks a little like one of them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stpe.geometry.homography import transform
from stpe.models.concepts import map_concepts
from stpe.models.notes import note
from stpe.models.roles import F32, Detections, Detector, Masks, Segmenter
from stpe.rle import encode_mask
from stpe.signals import schema
from stpe.stages.colors import color_profile
from stpe.stages.instances import (
    Evidence,
    Instance,
    area,
    distinct,
    one_name_each,
    tidy,
    tight_box,
)
from stpe.stages.motion_rows import FLOW, field_at, matrix_at
from stpe.stages.proposals import box_iou, propose
from stpe.stages.stage import ANALYSIS, Output, Request, Stage, Window
from stpe.video.frame import ImageHW3

COLUMNS = (
    "pts",
    "label",
    "confidence",
    "origin",
    "box_xyxy",
    "mask_rle",
    "mask_confidence",
    "area_px",
    "embedding",
    "colors",
)
DETECTED = 0.3  # detector's score
CERTAIN = 0.5  # below this score a detection needs a mask that stands out
SUPPORT = 0.15  # confidence as an unnamed object that such a mask needs
PROPOSALS = 16  # a frame
#: Of the detector's boxes with a score from here to DETECTED so many are among them, best first.
DOUBTED, DOUBTS = 0.02, 8
#: IoU from which a box adds nothing to a surer one, and from which two are the same.
SAME_THING, SAME_BOX = 0.5, 0.8
UNNAMED = 0.5  # confidence from which an unnamed object is kept
SMALLEST_SHARE, LARGEST_SHARE = 0.0005, 0.5  # of the image, for an unnamed object
GOOD_MASK = 0.5  # IoU of a mask's box with the detector's from which it refines it

log = logging.getLogger(__name__)


class Objects(Stage):
    """`objects` rows of each analysis frame, most confident first."""

    name = "objects"
    version = "7"
    optional = (
        "frames.dense",
        "frames.dense_shape",
        "frames.saliency",
        "frames.saliency_shape",
        *FLOW,
        "motion.camera_homography",
    )
    writes = tuple(f"objects.{column}" for column in COLUMNS)
    roles = ("detector",)
    optional_roles = ("segmenter", "text_embedder")
    options = ("concepts",)
    grid = ANALYSIS

    def __init__(self, models: Mapping[str, Any], request: Request) -> None:
        """Maps the user's concepts to classes."""
        super().__init__(models, request)
        self._detector: Detector = models["detector"]
        self._segmenter: Segmenter | None = models.get("segmenter")
        mapping, rest = map_concepts(
            request.concepts, self._detector.labels, models.get("text_embedder")
        )
        self._labels = {label for labels in mapping.values() for label in labels}
        self._by_text: tuple[str, ...] = ()
        if self._segmenter is not None and self._segmenter.accepts_text:
            self._by_text, rest = rest, ()
        self._unknown = tuple(_not_looked_for(c, self._segmenter is not None) for c in rest)
        for line in self._unknown:
            log.warning("%s", line)

    def process(self, window: Window) -> Output:
        """Rows of one frame. What the user asked for and no model here knows is noted."""
        for line in self._unknown:
            note(line, logged=False)
        frame = window.core_frames[0]
        image = frame.image
        height, width = image.shape[:2]
        evidence = _evidence(window)
        found = self._find(image, evidence)
        found.sort(key=lambda instance: -instance.confidence)
        to_stored = np.array([window.source.width / width, window.source.height / height], "f4")
        rows = [
            {
                "frame_index": frame.index,
                "object_id": number,
                "pts": frame.pts,
                "label": instance.label,
                "confidence": instance.confidence,
                "origin": instance.origin,
                "box_xyxy": instance.box_4 * np.tile(to_stored, 2),
                "area_px": _area(instance) * float(to_stored.prod()),
                "mask_rle": None
                if instance.mask_HW is None
                else encode_mask(instance.mask_HW, (window.source.height, window.source.width)),
                "mask_confidence": instance.mask_confidence,
                "embedding": evidence.embedding(instance, height, width),
                "colors": color_profile(image, instance.box_4, instance.mask_HW),
            }
            for number, instance in enumerate(found)
        ]
        return Output({"objects": pa.Table.from_pylist(rows, schema("objects", COLUMNS))})

    def _find(self, image: ImageHW3, evidence: Evidence) -> list[Instance]:
        # What no model here knows by name may still be seen, as an object without one.
        asked = bool(self.request.concepts) and not self._unknown
        automatic = self._segmenter is not None and not asked
        seen = self._detector.detect([image], DOUBTED if automatic else DETECTED)[0]
        detections = _take(seen, np.flatnonzero(seen.scores_N >= DETECTED))
        if self.request.concepts:
            detections = _only(detections, self._labels)
        origin = "concept" if self.request.concepts else "detector"
        if self._segmenter is None:
            return [
                Instance(label, float(score), origin, box)
                for box, score, label in zip(
                    detections.boxes_N4, detections.scores_N, detections.labels, strict=True
                )
            ]
        height, width = image.shape[:2]
        boxes = detections.boxes_N4.reshape(-1, 4)
        unnamed, scores = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
        if automatic:
            size = np.array([width, height, width, height], np.float32)
            coarse = size * propose(
                evidence.saliency_hw, evidence.dense_hwC, evidence.motion_hw, PROPOSALS
            )
            unnamed, scores = _unnamed_boxes(seen, boxes, coarse)
        if not len(boxes) and not len(unnamed) and not self._by_text:
            return []
        encoded = self._segmenter.encode(image)
        masks = self._segmenter.from_boxes(encoded, np.concatenate([boxes, unnamed]))
        named = [masked(detections, masks, i, origin) for i in range(len(boxes))]
        named = [n for n in named if n.confidence >= CERTAIN or _supported(n, evidence)]
        if self._by_text:
            by_text, text_masks = self._segmenter.from_text(encoded, self._by_text)
            named += [masked(by_text, text_masks, i, origin) for i in range(len(by_text))]
        found = one_name_each(named)
        # What the detector doubts may be a part: it adds to what stands out, and replaces none.
        for doubted in (False, True):
            candidates = [
                _unnamed(mask, float(quality), evidence, float(score))
                for mask, quality, score in zip(
                    masks.masks_NHW[len(boxes) :], masks.scores_N[len(boxes) :], scores, strict=True
                )
                if (score > 0) == doubted
            ]
            good = [c for c in candidates if c is not None and c.confidence >= UNNAMED]
            found += distinct(good, found)
        return found


def _not_looked_for(concept: str, unnamed: bool) -> str:
    kept = "objects without a name are kept, and it may be one of them; " if unnamed else ""
    return (
        f"concepts: {concept!r} is no class of the detector and near none in meaning, and no model "
        f"here is asked in words, so it was not looked for: {kept}"
        "name a class instead, or use a profile whose segmenter takes words"
    )


def masked(detections: Detections, masks: Masks, index: int, origin: str) -> Instance:
    """A detection with its mask; the mask's box replaces the detector's where the two agree,
    and otherwise the mask is cut to the detector's box."""
    box = detections.boxes_N4[index]
    mask = tidy(masks.masks_NHW[index])
    quality = float(masks.scores_N[index])
    if mask.any():
        tight = tight_box(mask)
        agreement = float(box_iou(tight[None], box[None])[0, 0])
        if agreement >= GOOD_MASK:
            box = tight
        else:
            quality *= agreement
            x0, y0, x1, y1 = np.round(box).astype(int)
            cut = np.zeros_like(mask)
            cut[y0:y1, x0:x1] = mask[y0:y1, x0:x1]
            mask = cut
    known = mask.any()
    return Instance(
        detections.labels[index],
        float(detections.scores_N[index]),
        origin,
        box,
        mask if known else None,
        quality if known else None,
    )


def _supported(instance: Instance, evidence: Evidence) -> bool:
    if instance.mask_HW is None or instance.mask_confidence is None:
        return False
    return instance.mask_confidence * evidence.objectness(instance.mask_HW) >= SUPPORT


def _unnamed_boxes(seen: Detections, named_N4: F32, coarse_M4: F32) -> tuple[F32, F32]:
    """At most PROPOSALS boxes (pixels) to look for unnamed objects in, and the detector's score of
    each: coarse ones, and before the least of these what the detector doubts. None is like a named
    one, and none that it doubts is like a better one or nearly the same as a coarse one, which may
    hold a whole of which it is a part."""
    doubted = list(named_N4)
    scores: list[float] = []
    for i in np.argsort(-seen.scores_N, kind="stable"):
        box, score = seen.boxes_N4[i], float(seen.scores_N[i])
        if score < DETECTED and len(scores) < DOUBTS and _is_new(box, doubted, SAME_THING):
            doubted.append(box)
            scores.append(score)
    coarse = [
        box for box in coarse_M4[: PROPOSALS - len(scores)] if _is_new(box, named_N4, SAME_THING)
    ]
    pairs = zip(doubted[len(named_N4) :], scores, strict=True)
    kept = [(box, score) for box, score in pairs if _is_new(box, coarse, SAME_BOX)]
    boxes = [*coarse, *(box for box, _ in kept)]
    zeros = [0.0] * len(coarse)
    return (
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array([*zeros, *(score for _, score in kept)], np.float32),
    )


def _is_new(box_4: F32, kept: Sequence[F32] | F32, least: float) -> bool:
    return not len(kept) or float(box_iou(box_4[None], np.array(kept)).max()) < least


def _unnamed(
    mask: NDArray[np.bool_], quality: float, evidence: Evidence, score: float
) -> Instance | None:
    # Objectness is at most one, so quality and area alone rule many out.
    if quality < UNNAMED or not SMALLEST_SHARE <= area(mask) / mask.size <= LARGEST_SHARE:
        return None
    mask = tidy(mask)
    # A detector's score is that there is a thing, times that it is of the class: of something that
    # has none of its classes, both are as doubtful.
    doubt = (1 - evidence.objectness(mask)) * (1 - np.sqrt(score))
    confidence = quality * float(1 - doubt)
    return Instance("object", confidence, "automatic", tight_box(mask), mask, quality)


def _only(detections: Detections, labels: set[str]) -> Detections:
    return _take(detections, [i for i, label in enumerate(detections.labels) if label in labels])


def _take(detections: Detections, rows: Iterable[int]) -> Detections:
    keep = np.array(list(rows), np.int64)
    return Detections(
        detections.boxes_N4[keep],
        detections.scores_N[keep],
        tuple(detections.labels[i] for i in keep),
    )


def _area(instance: Instance) -> float:
    if instance.mask_HW is not None:
        return float(area(instance.mask_HW))
    x0, y0, x1, y1 = instance.box_4
    return float((x1 - x0) * (y1 - y0))


def _evidence(window: Window) -> Evidence:
    dense = _grid(window.rows.get("frames"), "dense")
    if dense is not None:
        dense = dense / (np.linalg.norm(dense, axis=-1, keepdims=True) + 1e-9)
    size = (window.source.width, window.source.height)
    return Evidence(
        dense,
        _grid(window.rows.get("frames"), "saliency"),
        _motion(window.rows.get("motion"), size),
    )


def _grid(frames: pa.Table | None, column: str) -> F32 | None:
    """A map of the frame with its shape, or None."""
    if frames is None or not len(frames) or column not in frames.column_names:
        return None
    values = frames[column][0]
    if not values.is_valid:
        return None
    shape = frames[f"{column}_shape"][0].as_py()
    return np.asarray(values.values.to_numpy(zero_copy_only=False), np.float32).reshape(shape)


def _motion(motion: pa.Table | None, size: tuple[int, int]) -> F32 | None:
    """Probability that each cell moves by itself: flow that camera motion does not explain,
    against the spread of what it does; None without flow or camera."""
    needed = {"flow", "flow_shape", "flow_confidence", "camera_homography"}
    if motion is None or not len(motion) or not needed <= set(motion.column_names):
        return None
    field, matrix = field_at(motion, 0, size), matrix_at(motion, "camera_homography", 0)
    if field is None or matrix is None:
        return None
    camera = transform(matrix, field.points_N2) - field.points_N2
    gap = np.linalg.norm(np.nan_to_num(field.flow_N2 - camera), axis=1)
    spread = 4 * (1.4826 * np.median(gap) + 0.5 * field.unit)
    moving = field.weight_N * (1 - np.exp(-((gap / spread) ** 2)))
    # Flow is anchored in the earlier frame; show it where its cells are now.
    h, w = field.shape
    here = (field.points_N2 + field.flow_N2) * (w / size[0], h / size[1])
    column, row = np.clip(here.astype(int), 0, (w - 1, h - 1)).T
    shown = np.zeros((h, w), np.float32)
    np.maximum.at(shown, (row, column), moving.astype(np.float32))
    return np.asarray(cv2.morphologyEx(shown, cv2.MORPH_CLOSE, np.ones((3, 3))), np.float32)
