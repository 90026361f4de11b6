"""Tasks on one image: objects, masks, joints, depth."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np

from stpe.dataset.export.skeleton import JOINTS
from stpe.errors import ModelError
from stpe.models.roles import Depth, Detections, Segmenter
from stpe.rle import encode_mask
from stpe.serve.tasks.context import Context
from stpe.serve.tasks.schemas import (
    DepthAnswer,
    DepthMap,
    DetectAnswer,
    Found,
    Joint,
    Person,
    PoseAnswer,
    Rle,
    SegmentAnswer,
    Segmented,
)
from stpe.stages.instances import Instance
from stpe.stages.objects import masked
from stpe.stages.pose import pose_of_boxes
from stpe.video.frame import ImageHW3

#: Masks an image: COCO's own limit on detections.
MOST_MASKS = 100
#: Masks are found on images of at most this longer side, and enlarged: models look at less.
_LONG_SIDE = 2048
_AT_ONCE = 8  # masks in memory at the image's size


async def detect(context: Context) -> DetectAnswer:
    """Named objects."""
    (detector,) = await context.models("detector")
    async with context.only_image() as image:
        with context.stage("infer"):
            found = await context.detect(detector, image, context.body.options.threshold)
        return DetectAnswer(
            results=[
                Found(label=label, score=float(score), box=box.tolist())
                for box, score, label in zip(
                    found.boxes_N4, found.scores_N, found.labels, strict=True
                )
            ],
            **common(context, image, "detector"),
        )


async def segment(context: Context) -> SegmentAnswer:
    """Named objects with masks."""
    detector, segmenter = await context.models("detector", "segmenter")
    async with context.only_image() as image:
        with context.stage("infer"):
            found = await context.detect(detector, image, context.body.options.threshold)
            found = best(found, MOST_MASKS, context.warnings)
            instances = await context.shared.work.short(masks, segmenter, image, found)
        return SegmentAnswer(
            results=[
                Segmented(
                    label=i.label,
                    score=i.confidence,
                    box=i.box_4.tolist(),
                    mask=mask,
                    mask_score=i.mask_confidence,
                )
                for i, mask in instances
            ],
            **common(context, image, "detector", "segmenter"),
        )


async def pose(context: Context) -> PoseAnswer:
    """People, found by the detector, and their joints; in an image without, the pose model looks
    for itself."""
    detector, model = await context.models("detector", "pose")
    threshold = context.body.options.threshold
    async with context.only_image() as image:
        with context.stage("infer"):
            found = await context.detect(detector, image, threshold)
            at = [i for i, label in enumerate(found.labels) if label == "person"]
            boxes, scores = found.boxes_N4[at], found.scores_N[at]
            if at:
                joints = await context.shared.work.short(pose_of_boxes, model, image, boxes)
            else:
                poses = await context.shared.batcher.submit(
                    ("pose", threshold), lambda images: model.estimate(images, threshold), image
                )
                boxes, scores = poses.boxes_N4, poses.scores_N
                joints = list(poses.keypoints_N173)
        people = [
            Person(
                label="person",
                score=float(score),
                box=box.tolist(),
                keypoints=None
                if joints_173 is None
                else [
                    Joint(name=name, x=float(x), y=float(y), score=float(s))
                    for name, (x, y, s) in zip(JOINTS, joints_173, strict=True)
                ],
            )
            for box, score, joints_173 in zip(boxes, scores, joints, strict=True)
        ]
        return PoseAnswer(results=people, **common(context, image, "detector", "pose"))


async def depth(context: Context) -> DepthAnswer:
    """Depth of every pixel."""
    (model,) = await context.models("depth")
    async with context.only_image() as image:
        with context.stage("infer"):
            found = await context.shared.batcher.submit(("depth",), model.depth, image)
        with context.stage("encode"):
            result = await context.shared.work.short(_depth_map, found)
        return DepthAnswer(results=[result], **common(context, image, "depth"))


def common(context: Context, image: ImageHW3, *roles: str) -> dict[str, Any]:
    """Fields that every answer about an image has; the route adds the time."""
    return {
        "model": context.model_names(*roles),
        "width": image.shape[1],
        "height": image.shape[0],
        "processing_time_ms": 0.0,
        "warnings": context.warnings,
    }


def best(found: Detections, most: int, warnings: list[str]) -> Detections:
    """The `most` best detections; says so where others are left out."""
    if len(found) <= most:
        return found
    warnings.append(f"{len(found)} objects were found; the {most} best are answered")
    return Detections(found.boxes_N4[:most], found.scores_N[:most], found.labels[:most])


def masks(
    segmenter: Segmenter, image: ImageHW3, found: Detections
) -> list[tuple[Instance, Rle | None]]:
    """Each detection with its mask, tidied, in pixels of the image."""
    if not len(found):
        return []
    height, width = image.shape[:2]
    scale = min(1.0, _LONG_SIDE / max(height, width))
    small = image
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    to_small = np.tile([small.shape[1] / width, small.shape[0] / height], 2).astype(np.float32)
    encoded = segmenter.encode(small)
    made = []
    for start in range(0, len(found), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        few = Detections(found.boxes_N4[part] * to_small, found.scores_N[part], found.labels[part])
        answer = segmenter.from_boxes(encoded, few.boxes_N4)
        for i in range(len(few)):
            instance = masked(few, answer, i, "detector")
            mask = None
            if instance.mask_HW is not None:
                mask = Rle.model_validate(encode_mask(instance.mask_HW, (height, width)))
            made.append((_light(instance, instance.box_4 / to_small), mask))
    return made


def _light(instance: Instance, box_4: object) -> Instance:
    return Instance(
        instance.label,
        instance.confidence,
        instance.origin,
        np.asarray(box_4, np.float32),
        None,
        instance.mask_confidence,
    )


def _depth_map(found: Depth) -> DepthMap:
    depth_HW = found.depth_HW
    low, high = float(depth_HW.min()), float(depth_HW.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ModelError("the depth model answers with numbers that are not finite")
    values = np.rint((depth_HW - low) * (65535 / max(high - low, 1e-12))).astype(np.uint16)
    _, png = cv2.imencode(".png", values, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return DepthMap(
        unit=found.unit,
        confidence=found.confidence,
        minimum=low,
        maximum=high,
        png_base64=base64.b64encode(png.tobytes()).decode("ascii"),
    )
