"""What words name, segmented in an image or followed through a video.

A segmenter that reads text is asked directly. Otherwise each word is mapped to the detector's
class names it stands for (`stpe.models.concepts`), and the answer says what each was taken for.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stpe.errors import ModelError
from stpe.models.concepts import look_for
from stpe.models.roles import Detections, FlowEstimator, Segmenter
from stpe.rle import encode_mask
from stpe.serve.failures import InvalidInputError
from stpe.serve.payload import IMAGE_TYPES, VIDEO_TYPES
from stpe.serve.tasks.context import Context
from stpe.serve.tasks.images import MOST_MASKS, best, common, masks
from stpe.serve.tasks.schemas import (
    ConceptAnswer,
    ConceptMatch,
    ConceptObject,
    ConceptObservation,
    Rle,
)
from stpe.serve.tasks.tracking import FAINT, Walk
from stpe.stages.instances import Instance
from stpe.video.frame import ImageHW3
from stpe.video.limits import Limits

MOST_CONCEPTS = 32
_LONG_SIDE = 1024  # of a video's frames; what the segmenter looks at

Segmented = list[tuple[Instance, Rle | None]]


@dataclass(frozen=True)
class Finder:
    """How the concepts of one request are found.

    Attributes:
        find: boxes of an image from a threshold, labelled by the detector or by concept.
        segment: those boxes with masks.
        concept_of: label to the concept it was found for.
        matches: what each concept was taken for.
        roles: models at work.
    """

    find: Callable[[ImageHW3, float], Detections]
    segment: Callable[[ImageHW3, Detections], Segmented]
    concept_of: dict[str, str]
    matches: list[ConceptMatch]
    roles: tuple[str, ...]


async def concepts(context: Context) -> ConceptAnswer:
    """Find every instance of every concept."""
    words = [word.strip() for word in context.body.options.text_prompt.split(",")]
    words = list(dict.fromkeys(word for word in words if word))
    if not 1 <= len(words) <= MOST_CONCEPTS:
        raise InvalidInputError(f"text_prompt must name 1 to {MOST_CONCEPTS} concepts")
    data, kind = await context.payload(IMAGE_TYPES | VIDEO_TYPES)
    finder = await _finder(context, words)
    if kind in IMAGE_TYPES.values():
        return await _in_image(context, data, finder)
    flow = await context.shared.roles.get("flow")
    options, limits = context.body.options, context.shared.limits
    answer: ConceptAnswer = await context.video(
        data, kind, _in_video, limits, finder, flow, options.threshold, options.max_frames
    )
    answer.model = context.model_names(*finder.roles, "flow")
    answer.warnings = context.warnings + answer.warnings
    return answer


async def _finder(context: Context, words: list[str]) -> Finder:
    (segmenter,) = await context.models("segmenter")
    if segmenter.accepts_text:
        return _by_text(segmenter, words)
    detector = await context.shared.roles.get("detector")
    try:
        embedder = await context.shared.roles.get("text_embedder")
    except ModelError as error:
        embedder = None
        context.warnings.append(f"words are matched to class names by spelling only: {error}")
    looked = await context.shared.work.short(look_for, words, detector.labels, embedder)
    context.warnings.extend(looked.warnings)
    labels_of = {w: [label for v in looked.words[w] for label in looked.labels[v]] for w in words}
    concept_of: dict[str, str] = {}
    for word, labels in labels_of.items():
        for label in labels:
            concept_of.setdefault(label, word)

    def find(image: ImageHW3, threshold: float) -> Detections:
        found = detector.detect([image], threshold)[0]
        keep = [i for i, label in enumerate(found.labels) if label in concept_of]
        labels = tuple(found.labels[i] for i in keep)
        return Detections(found.boxes_N4[keep], found.scores_N[keep], labels)

    return Finder(
        find,
        lambda image, found: masks(segmenter, image, found),
        concept_of,
        [ConceptMatch(concept=w, labels=list(dict.fromkeys(labels_of[w]))) for w in words],
        ("detector", "segmenter"),
    )


def _by_text(segmenter: Segmenter, words: list[str]) -> Finder:
    kept: dict[str, Any] = {}

    def find(image: ImageHW3, threshold: float) -> Detections:
        kept["found"], kept["masks"] = segmenter.from_text(
            segmenter.encode(image), words, threshold
        )
        found: Detections = kept["found"]
        return found

    def segment(image: ImageHW3, found: Detections) -> Segmented:
        height, width = image.shape[:2]
        at = {tuple(box): i for i, box in enumerate(kept["found"].boxes_N4.tolist())}
        made: Segmented = []
        for box, score, label in zip(found.boxes_N4, found.scores_N, found.labels, strict=True):
            i = at[tuple(box.tolist())]
            mask = Rle.model_validate(encode_mask(kept["masks"].masks_NHW[i], (height, width)))
            quality = float(kept["masks"].scores_N[i])
            made.append((Instance(label, float(score), "concept", box, None, quality), mask))
        return made

    matches = [ConceptMatch(concept=word, labels=[word]) for word in words]
    return Finder(find, segment, {word: word for word in words}, matches, ("segmenter",))


async def _in_image(context: Context, data: bytes, finder: Finder) -> ConceptAnswer:
    threshold = context.body.options.threshold
    async with context.image(data) as image:

        def look() -> Segmented:
            found = best(finder.find(image, threshold), MOST_MASKS, context.warnings)
            return finder.segment(image, found)

        with context.stage("infer"):
            instances = await context.shared.work.short(look) if finder.concept_of else []
        return ConceptAnswer(
            results=[
                ConceptObject(
                    label=finder.concept_of[i.label],
                    detected_as=i.label,
                    score=i.confidence,
                    box=i.box_4.tolist(),
                    mask=mask,
                    mask_score=i.mask_confidence,
                )
                for i, mask in instances
            ],
            concepts=finder.matches,
            **common(context, image, *finder.roles),
        )


def _in_video(
    path: Path,
    stop: threading.Event,
    limits: Limits,
    finder: Finder,
    flow: FlowEstimator,
    threshold: float,
    max_frames: int,
) -> ConceptAnswer:
    walk = Walk(path, limits, stop, max_frames, _LONG_SIDE)
    seen: dict[int, list[ConceptObservation]] = defaultdict(list)
    labels: dict[int, str] = {}
    for step in walk.steps(
        lambda image: finder.find(image, threshold * FAINT), threshold, flow, max_frames
    ):
        tracked = np.flatnonzero(step.ids_N)[:MOST_MASKS]
        found = Detections(
            step.found.boxes_N4[tracked],
            step.found.scores_N[tracked],
            tuple(step.found.labels[i] for i in tracked),
        )
        instances = finder.segment(step.image, found) if len(found) else []
        for track, (instance, mask) in zip(step.ids_N[tracked].tolist(), instances, strict=True):
            labels.setdefault(track, instance.label)
            seen[track].append(
                ConceptObservation(
                    frame_index=step.frame_index,
                    pts=step.pts,
                    score=instance.confidence,
                    box=(instance.box_4 * np.tile(step.to_stored_2, 2)).tolist(),
                    mask=mask,
                    mask_score=instance.mask_confidence,
                )
            )
    return ConceptAnswer(
        results=[
            ConceptObject(
                label=finder.concept_of[labels[track]],
                detected_as=labels[track],
                score=float(np.mean([o.score for o in seen[track]])),
                object_id=track,
                observations=seen[track],
            )
            for track in sorted(seen)
        ],
        concepts=finder.matches,
        model="",
        width=walk.info.width,
        height=walk.info.height,
        processing_time_ms=0.0,
        warnings=list(walk.info.warnings),
        video=walk.timing,
    )
