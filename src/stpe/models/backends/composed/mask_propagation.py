"""Prompted objects followed through a video by flow, appearance and a segmenter of images.

A mask is carried to the next frame by optical flow where the flow is consistent, and by what the
object looked like where it is not; the segmenter then makes the guess exact. How far the
segmenter is believed for an object is measured where the truth is known: in the prompted frame.
An object that nothing supports any more is lost; it is then looked for in the whole frame by its
appearance, and taken up again where the segmenter finds something as like it as it used to be.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stpe.errors import UsageError
from stpe.models.backends.composed.guided import agreement, exact, without
from stpe.models.backends.composed.label_memory import LabelMemory, unit
from stpe.models.backends.composed.mask_warp import carried, visible_before
from stpe.models.concepts import look_for
from stpe.models.processor import core_count
from stpe.models.roles import (
    F32,
    Detector,
    Direction,
    FlowEstimator,
    ImageEmbedder,
    Segmenter,
    TextEmbedder,
    VideoFrame,
    VideoFrames,
    VideoObject,
    VideoPrompt,
)
from stpe.models.walking import Walk, check_prompt, walks
from stpe.video.frame import ImageHW3

LONG_SIDE = 1024  # of the frames looked at: the segmenter's own
FLOW_WEIGHT = 0.6  # of the carried mask against appearance, where the flow is consistent
UNSEEN_WEIGHT = 0.2  # and where it is not
LEAST_AGREEMENT = 0.5  # of the segmenter with a guess, below which it found something else
LEAST_SCORE = 0.2  # below this an object is lost
SAME_LIKENESS = 0.9  # of its usual likeness, from which a thing found again is the object
TEXT_THRESHOLD = 0.25


def compose(parts: Mapping[str, Any], options: Mapping[str, Any]) -> MaskPropagation:
    """Of the roles segmenter, image_embedder, flow, detector and text_embedder."""
    return MaskPropagation(
        parts["segmenter"],
        parts["image_embedder"],
        parts["flow"],
        parts["detector"],
        parts["text_embedder"],
    )


@dataclass(frozen=True)
class MaskPropagation:
    """Role `video_segmenter`; it owns none of its parts.

    Attributes:
        ahead: threads in which frames are encoded while the one before is worked on.
    """

    segmenter: Segmenter
    embedder: ImageEmbedder
    flow: FlowEstimator
    detector: Detector
    text_embedder: TextEmbedder
    ahead: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(core_count(), "stpe-look")
    )

    def open(self, frames: VideoFrames) -> Session:
        """A session on a video."""
        return Session(self, frames)

    def close(self) -> None:
        """End the threads; the parts belong to others."""
        self.ahead.shutdown(cancel_futures=True)


class _Look:
    """One frame as the models see it: each is asked once, in the background, from the start."""

    def __init__(self, models: MaskPropagation, image: ImageHW3) -> None:
        self.height, self.width = image.shape[:2]
        scale = min(1.0, LONG_SIDE / max(self.height, self.width))
        self.image = image
        if scale < 1:
            size = max(1, round(self.width * scale)), max(1, round(self.height * scale))
            self.image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
        self._features = models.ahead.submit(_features, models.embedder, self.image)
        self._encoded = models.ahead.submit(models.segmenter.encode, self.image)

    @property
    def features(self) -> F32:
        return self._features.result()

    @property
    def encoded(self) -> Any:
        return self._encoded.result()

    def small(self, mask_HW: NDArray[Any]) -> F32:
        """A mask of the frame at the size looked at."""
        size = self.image.shape[1], self.image.shape[0]
        return np.asarray(
            cv2.resize(mask_HW.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32
        )

    def full(self, probability_HW: F32) -> NDArray[np.bool_]:
        """A probability at the size looked at as a mask of the frame."""
        size = self.width, self.height
        return np.asarray(cv2.resize(probability_HW, size, interpolation=cv2.INTER_LINEAR) > 0.5)

    def spread(self, share_hw: F32) -> F32:
        """A value a patch as one a pixel."""
        size = self.image.shape[1], self.image.shape[0]
        return np.asarray(cv2.resize(share_hw, size, interpolation=cv2.INTER_LINEAR), np.float32)


def _features(embedder: ImageEmbedder, image: ImageHW3) -> F32:
    return unit(embedder.embed([image])[0].dense_hwD)


@dataclass
class _Object:
    """One object: what was said of it, and where it was last.

    Attributes:
        certainty: of what it was found by; 1 for what was pointed at.
        prompts: frame to the mask that was given or made there.
        belief: how well the segmenter reproduces the first of those masks, 0..1.
        own_votes: mean vote inside that mask, which later ones are measured against.
        likeness: what the object's likeness to its prompted self has been lately.
        mask_HW: probability in the frame last looked at, kept soft so that one bad frame does not
            decide the next; None where it is lost.
        shown_HW: the mask there.
        looked_at: that frame.
    """

    id: int
    label: str | None
    certainty: float
    memory: LabelMemory = field(default_factory=LabelMemory)
    prompts: dict[int, F32] = field(default_factory=dict)
    belief: float = 0.0
    own_votes: float = 1.0
    likeness: float | None = None
    mask_HW: F32 | None = None
    shown_HW: F32 | None = None
    score: float = 0.0
    looked_at: int | None = None


class Session:
    """Role `VideoSession`."""

    def __init__(self, models: MaskPropagation, frames: VideoFrames) -> None:
        self._models = models
        self._frames = frames
        self._objects: dict[int, _Object] = {}
        self._last_id = 0
        self._first: int | None = None

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Objects in order of creation."""
        return tuple(self._objects)

    @property
    def held_bytes(self) -> int:
        """Bytes of masks, labels and features."""
        objects = list(self._objects.values())
        features = {id(f): f.nbytes for o in objects for f in o.memory.features}
        masks = sum(m.nbytes for o in objects for m in (*o.prompts.values(),))
        return sum(features.values()) + masks + sum(o.memory.held_bytes for o in objects)

    def prompt(
        self, frame_index: int, prompt: VideoPrompt, object_id: int | None = None
    ) -> VideoFrame:
        """See `stpe.models.roles.VideoSession.prompt`."""
        check_prompt(self._frames, frame_index, prompt, object_id, self.object_ids)
        look = _Look(self._models, self._frames.image(frame_index))
        named, warnings = self._named(look, prompt.texts)
        touched = [
            self._make(frame_index, look, mask, score, label) for label, mask, score in named
        ]
        corrected = None if object_id is None else self._objects[object_id]
        mask_HW = self._pointed(frame_index, look, prompt, corrected)
        if mask_HW is not None and corrected is not None:
            touched.append(self._set(corrected, frame_index, look, mask_HW))
        elif mask_HW is not None:
            touched.append(self._make(frame_index, look, mask_HW, 1.0, None))
        elif not prompt.texts:
            raise UsageError("the prompt names nothing; give words, a box, points or a mask")
        if self._first is None and touched:
            self._first = frame_index
        return replace(self._answer(frame_index, look, touched), warnings=warnings)

    def propagate(
        self,
        direction: Direction,
        start: int | None = None,
        max_frames: int | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Generator[VideoFrame | None, None, None]:
        """See `stpe.models.roles.VideoSession.propagate`."""
        first = self._first if self._objects else None
        return self._walk(walks(self._frames, first, direction, start, max_frames), cancelled)

    def _walk(
        self, ways: Sequence[Walk], cancelled: Callable[[], bool]
    ) -> Generator[VideoFrame | None, None, None]:
        for walk in ways:
            begin, end, step = walk.begin, walk.end, walk.step
            # An object is known where it was prompted: the walk sets out from there, silently
            # until it reaches the first frame asked for.
            origin = self._origin(begin, step)
            for one in self._objects.values():
                one.memory.forget_recent()
                one.mask_HW, one.score, one.likeness, one.looked_at = None, 0.0, None, None
            before: _Look | None = None
            coming: _Look | None = None
            for index in range(origin, end + step, step):
                if cancelled():
                    return
                look = coming or _Look(self._models, self._frames.image(index))
                coming = None
                if index != end:
                    coming = _Look(self._models, self._frames.image(index + step))
                for one in list(self._objects.values()):
                    if index in one.prompts:
                        self._take(one, look, one.prompts[index])
                others = [o for o in self._objects.values() if index not in o.prompts]
                self._follow(before, look, others)
                for one in self._objects.values():
                    one.looked_at = index
                before = look
                if (index - begin) * step < 0:
                    yield None
                elif index != begin or not walk.answered:
                    yield self._answer(index, look, list(self._objects.values()))

    def _origin(self, begin: int, step: int) -> int:
        """The frame to set out from, so that no object is first seen later than it was said."""
        said = [
            max(behind, key=lambda i: i * step)
            for one in self._objects.values()
            if (behind := [i for i in one.prompts if (begin - i) * step >= 0])
        ]
        return min(said, key=lambda i: i * step) if said else begin

    def _follow(self, before: _Look | None, look: _Look, objects: list[_Object]) -> None:
        """Find the objects in a frame, from the one before."""
        known = [o for o in objects if o.mask_HW is not None and before is not None]
        if known and before is not None:
            back = self._models.flow.flow(look.image, before.image)
            visible = visible_before(back, self._models.flow.flow(before.image, look.image))
            for one in known:
                if one.mask_HW is not None:
                    self._continue(one, look, carried(one.mask_HW, back), visible)
        for one in objects:
            if one not in known and one.prompts:
                self._search(one, look)

    def _continue(
        self, one: _Object, look: _Look, carried_HW: F32, visible_HW: NDArray[np.bool_]
    ) -> None:
        votes = one.memory.votes(look.features)
        weight_HW = np.where(visible_HW, FLOW_WEIGHT, UNSEEN_WEIGHT).astype(np.float32)
        guess = weight_HW * carried_HW + (1 - weight_HW) * look.spread(votes)
        self._settle(one, look, guess, votes)

    def _search(self, one: _Object, look: _Look) -> None:
        """Look for a lost object in the whole frame."""
        one.mask_HW, one.score = None, 0.0
        votes = one.memory.votes(look.features, anywhere=True)
        spread = look.spread(votes / max(one.own_votes, 1e-6))
        if (spread > 0.5).sum() == 0:
            return
        found = exact(self._models.segmenter, look.encoded, np.minimum(spread, 1.0))
        if found is None or found.agreement < LEAST_AGREEMENT:
            return
        likeness = one.memory.likeness(look.features, found.mask_HW.astype(np.float32))
        if likeness is not None and likeness >= SAME_LIKENESS * (one.likeness or 1.0):
            self._settle(one, look, found.mask_HW.astype(np.float32), votes)

    def _settle(self, one: _Object, look: _Look, guess_HW: F32, votes_hw: F32) -> None:
        """Make the guess exact, score it, remember it."""
        found = exact(self._models.segmenter, look.encoded, guess_HW)
        mask = shown = guess_HW
        if found is not None:
            # A product, so that neither alone is enough.
            belief = one.belief * found.agreement
            mask = (1 - belief) * guess_HW + belief * found.mask_HW
            trusted = found.agreement >= min(LEAST_AGREEMENT, one.belief)
            shown = found.mask_HW.astype(np.float32) if trusted else mask
        inside = shown > 0.5
        support = float(look.spread(votes_hw)[inside].mean()) if inside.any() else 0.0
        together = agreement(inside, guess_HW)
        one.score = one.certainty * min(1.0, support / max(one.own_votes, 1e-6)) * together**0.5
        if one.score < LEAST_SCORE:
            one.mask_HW = None
            return
        one.mask_HW, one.shown_HW = mask, shown
        one.memory.followed(look.features, mask)
        likeness = one.memory.likeness(look.features, mask)
        if likeness is not None:
            one.likeness = likeness if one.likeness is None else min(one.likeness, likeness)

    # prompts -----------------------------------------------------------------------------

    def _make(
        self, index: int, look: _Look, mask_HW: NDArray[np.bool_], score: float, label: str | None
    ) -> _Object:
        self._last_id += 1
        one = _Object(self._last_id, label, score)
        self._set(one, index, look, mask_HW)
        self._objects[one.id] = one
        return one

    def _set(self, one: _Object, index: int, look: _Look, mask_HW: NDArray[np.bool_]) -> _Object:
        """What is said to be the object in a frame."""
        mask = look.small(mask_HW)
        one.prompts[index] = mask
        one.memory.prompted(index, look.features, mask)
        if index == next(iter(one.prompts)):
            found = exact(self._models.segmenter, look.encoded, mask)
            one.belief = found.agreement if found is not None else 0.0
            votes = look.spread(one.memory.votes(look.features, anywhere=True))
            inside = mask > 0.5
            one.own_votes = float(votes[inside].mean()) if inside.any() else 1.0
        self._take(one, look, mask)
        one.looked_at = index
        return one

    def _take(self, one: _Object, look: _Look, mask_HW: F32) -> None:
        one.mask_HW = one.shown_HW = mask_HW
        one.score = one.certainty

    def _named(
        self, look: _Look, texts: Sequence[str]
    ) -> tuple[list[tuple[str, NDArray[np.bool_], float]], tuple[str, ...]]:
        """(word, mask, score) of everything that the words name in a frame, and what was taken for
        something else or cannot be found."""
        if not texts:
            return [], ()
        models = self._models
        if models.segmenter.accepts_text:
            found, masks = models.segmenter.from_text(look.encoded, texts)
            words = list(found.labels)
        else:
            looked = look_for(texts, models.detector.labels, models.text_embedder)
            word_of = {
                label: word for word, labels in reversed(looked.labels.items()) for label in labels
            }
            found = models.detector.detect([look.image], TEXT_THRESHOLD)[0]
            keep = [i for i, label in enumerate(found.labels) if label in word_of]
            if not keep:
                return [], looked.warnings
            masks = models.segmenter.from_boxes(look.encoded, found.boxes_N4[keep])
            words = [word_of[found.labels[i]] for i in keep]
            scores = found.scores_N[keep]
            return [
                (word, look.full(mask.astype(np.float32)), float(score))
                for word, mask, score in zip(words, masks.masks_NHW, scores, strict=True)
                if mask.any()
            ], looked.warnings
        return [
            (word, look.full(mask.astype(np.float32)), float(score))
            for word, mask, score in zip(words, masks.masks_NHW, found.scores_N, strict=True)
        ], ()

    def _pointed(
        self, index: int, look: _Look, prompt: VideoPrompt, corrected: _Object | None
    ) -> NDArray[np.bool_] | None:
        """The mask of the one object that boxes, points and mask describe together; where they
        only say what is not of it, what is left of the object they correct."""
        scale = look.image.shape[1] / look.width
        parts: list[NDArray[np.bool_]] = []
        taken = np.zeros((look.height, look.width), bool)
        if prompt.mask_HW is not None:
            if prompt.mask_HW.shape != (look.height, look.width):
                raise UsageError(
                    f"the mask is {prompt.mask_HW.shape[1]}x{prompt.mask_HW.shape[0]} and the "
                    f"frame {look.width}x{look.height}"
                )
            parts.append(prompt.mask_HW)
        if len(prompt.boxes_N4):
            boxes = np.asarray(prompt.boxes_N4 * scale, np.float32)
            masks = self._models.segmenter.from_boxes(look.encoded, boxes).masks_NHW
            for mask, label in zip(masks, prompt.box_labels_N, strict=True):
                full = look.full(mask.astype(np.float32))
                if label:
                    parts.append(full)
                else:
                    taken |= full
        points = np.asarray(prompt.points_P2 * scale, np.float32)
        labels = np.asarray(prompt.point_labels_P, np.int32)
        if labels.any():
            found = self._models.segmenter.from_points(look.encoded, points[None], labels[None])
            parts.append(look.full(found.masks_NHW[0].astype(np.float32)))
        if not parts and corrected is not None and (len(labels) or taken.any()):
            parts.append(self._known(index, look, corrected))
        if not parts:
            return None
        mask_HW = np.asarray(np.logical_or.reduce(parts) & ~taken)
        if labels.any() or not len(labels):
            return mask_HW
        small = look.small(mask_HW) > 0.5
        kept = without(self._models.segmenter, look.encoded, small, points)
        if kept is None:
            raise UsageError(
                "what the points off the object stand on cannot be told from it; add points on it, "
                "or give a mask"
            )
        return mask_HW if kept is small else mask_HW & look.full(kept.astype(np.float32))

    def _known(self, index: int, look: _Look, one: _Object) -> NDArray[np.bool_]:
        """Where an object is in a frame, as far as that is remembered."""
        if index in one.prompts:
            return look.full(one.prompts[index])
        if one.looked_at != index or one.mask_HW is None or one.shown_HW is None:
            raise UsageError(
                f"what belongs to object {one.id} in frame {index} is not remembered; propagate up "
                "to that frame first, or give a box, points on it or a mask too"
            )
        return look.full(one.shown_HW)

    # answers -----------------------------------------------------------------------------

    def _answer(self, index: int, look: _Look, objects: Sequence[_Object]) -> VideoFrame:
        nothing = np.zeros((look.height, look.width), bool)
        shown = tuple(
            VideoObject(
                o.id,
                nothing if o.mask_HW is None or o.shown_HW is None else look.full(o.shown_HW),
                min(1.0, o.score),
                o.label,
            )
            for o in objects
        )
        return VideoFrame(index, self._frames.pts[index], shown)

    def remove_object(self, object_id: int) -> None:
        """Forget one object."""
        if self._objects.pop(object_id, None) is None:
            raise UsageError(f"there is no object {object_id}; give one of {self.object_ids}")

    def reset(self) -> None:
        """Forget every object; ids go on."""
        self._objects.clear()
        self._first = None

    def close(self) -> None:
        """Free masks and features."""
        self.reset()
