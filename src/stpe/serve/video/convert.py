"""Between the API's shares and RLE and the role's pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from stpe.models.roles import VideoFrame, VideoObject, VideoPrompt
from stpe.rle import encode_mask
from stpe.serve.failures import InvalidInputError
from stpe.serve.tasks.schemas import Rle
from stpe.serve.video.masks import read_mask
from stpe.serve.video.schemas import (
    BoxPrompt,
    FoundObject,
    FrameObjects,
    MaskFormat,
    MaskPrompt,
    PointPrompt,
    Prompt,
    TextPrompt,
)


def to_role(prompts: Iterable[Prompt], width: int, height: int) -> VideoPrompt:
    """The prompts of one request in pixels. Raises InvalidInputError."""
    texts: list[str] = []
    boxes: list[BoxPrompt] = []
    points: list[PointPrompt] = []
    mask: NDArray[np.bool_] | None = None
    for prompt in prompts:
        match prompt:
            case TextPrompt():
                texts.extend(t.strip() for t in prompt.text.split(",") if t.strip())
            case BoxPrompt():
                boxes.append(prompt)
            case PointPrompt():
                points.append(prompt)
            case MaskPrompt():
                said = prompt.mask
                size = prompt.mask_size or (height, width) if isinstance(said, str) else said.size
                counts = said if isinstance(said, str) else said.counts
                one = read_mask(size, counts, height, width)
                mask = one if mask is None else mask | one
    if any(isinstance(p, TextPrompt) for p in prompts) and not texts:
        raise InvalidInputError("the text prompt holds no words")
    corners = np.array([p.box for p in boxes], np.float32).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    return VideoPrompt(
        texts=tuple(dict.fromkeys(texts)),
        boxes_N4=np.minimum(corners, 1) * np.array([width, height] * 2, np.float32),
        box_labels_N=np.array([p.label for p in boxes], np.int32),
        points_P2=np.array([p.point for p in points], np.float32).reshape(-1, 2)
        * np.array([width, height], np.float32),
        point_labels_P=np.array([p.label for p in points], np.int32),
        mask_HW=mask,
    )


def from_role(frame: VideoFrame, masks: MaskFormat) -> FrameObjects:
    """A frame's objects as the API says them."""
    return FrameObjects(frame_index=frame.index, pts=frame.pts, objects=found(frame.objects, masks))


def found(objects: Sequence[VideoObject], masks: MaskFormat) -> list[FoundObject]:
    """Objects as the API says them."""
    return [_found(one, masks) for one in objects]


def _found(one: VideoObject, masks: MaskFormat) -> FoundObject:
    rle = Rle.model_validate(encode_mask(one.mask_HW))
    return FoundObject(
        id=one.id,
        mask=rle if masks == "coco" else rle.counts,
        mask_size=rle.size,
        box=_box(one),
        score=one.score,
        label=one.label,
    )


def _box(one: VideoObject) -> tuple[float, float, float, float] | None:
    ys, xs = np.flatnonzero(one.mask_HW.any(1)), np.flatnonzero(one.mask_HW.any(0))
    if not len(ys):
        return None
    height, width = one.mask_HW.shape
    return (
        float(xs[0]) / width,
        float(ys[0]) / height,
        float(xs[-1] + 1 - xs[0]) / width,
        float(ys[-1] + 1 - ys[0]) / height,
    )
