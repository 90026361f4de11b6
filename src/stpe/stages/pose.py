"""Joints of the people among the objects."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa

from stpe.models.roles import F32, BoxPoseEstimator, PoseEstimator, Poses
from stpe.signals import schema
from stpe.stages.stage import ANALYSIS, Output, Stage, Window
from stpe.video.frame import ImageHW3

COLUMNS = ("keypoints", "keypoints_confidence")
# A detected person is already evidence, so a pose may be less sure of itself than one alone.
_THRESHOLD = 0.2
_OVERLAP = 0.3
_TOGETHER = 6  # people that MoveNet tells apart in one image
_AROUND = 0.25  # of the people's extent, looked at on each side of them


class Pose(Stage):
    """`objects.keypoints` of each person whose box a pose matches; null for all else."""

    name = "pose"
    reads = ("objects.box_xyxy", "objects.label")
    writes = tuple(f"objects.{column}" for column in COLUMNS)
    roles = ("pose",)
    grid = ANALYSIS

    def process(self, window: Window) -> Output:
        """One row an object; the model runs only where there is a person."""
        objects = window.rows["objects"].to_pylist()
        people = [row for row in objects if row["label"] == "person"]
        found: dict[int, F32] = {}
        if people:
            image = window.core_frames[0].image
            height, width = image.shape[:2]
            to_stored = np.array(
                [window.source.width / width, window.source.height / height], np.float32
            )
            boxes_N4 = np.array([row["box_xyxy"] for row in people], np.float32)
            boxes_N4 /= np.concatenate([to_stored, to_stored])
            joints = pose_of_boxes(self.models["pose"], image, boxes_N4)
            for row, joints_173 in zip(people, joints, strict=True):
                if joints_173 is not None:
                    joints_173[:, :2] *= to_stored
                    found[row["object_id"]] = joints_173
        rows = [
            {
                "frame_index": row["frame_index"],
                "object_id": row["object_id"],
                "keypoints": None if joints_173 is None else joints_173.ravel(),
                "keypoints_confidence": None if joints_173 is None else joints_173[:, 2].mean(),
            }
            for row in objects
            for joints_173 in [found.get(row["object_id"])]
        ]
        return Output({"objects": pa.Table.from_pylist(rows, schema("objects", COLUMNS))})


def pose_of_boxes(
    model: PoseEstimator | BoxPoseEstimator, image: ImageHW3, boxes_N4: F32
) -> list[F32 | None]:
    """17x3 joints (pixels of `image`) for each box, or None where no pose fits it.

    A model that finds people by itself looks at groups of neighbours, at the part of the image
    that holds each: distant people are enlarged, and a crowd is not cut off at the number of
    people the model can tell.
    """
    if isinstance(model, BoxPoseEstimator):
        return list(model.joints(image, boxes_N4))
    matched: list[F32 | None] = [None] * len(boxes_N4)
    across = np.argsort(boxes_N4[:, 0] + boxes_N4[:, 2], kind="stable")
    for group in np.array_split(across, math.ceil(len(boxes_N4) / _TOGETHER)):
        for box, joints_173 in zip(group, _poses(model, image, boxes_N4[group]), strict=True):
            matched[box] = joints_173
    return matched


def _poses(model: PoseEstimator, image: ImageHW3, boxes_N4: F32) -> list[F32 | None]:
    left, top, right, bottom = _view(boxes_N4, image.shape[1], image.shape[0])
    part = np.ascontiguousarray(image[top:bottom, left:right])
    poses: Poses = model.estimate([part], _THRESHOLD)[0]
    joints = poses.keypoints_N173 + np.array([left, top, 0], np.float32)
    overlaps = _iou(boxes_N4, poses.boxes_N4 + np.array([left, top] * 2, np.float32))
    matched: list[F32 | None] = [None] * len(boxes_N4)
    for best in np.argsort(-overlaps, axis=None, kind="stable"):
        box, pose = divmod(int(best), overlaps.shape[1])
        if overlaps[box, pose] >= _OVERLAP:
            matched[box] = joints[pose].copy()
            overlaps[box], overlaps[:, pose] = 0, 0
    return matched


def _view(boxes_N4: F32, width: int, height: int) -> tuple[int, int, int, int]:
    """The part of the image that holds the boxes, in the image's own aspect ratio: then the model
    is compiled for one input size a video."""
    frame = np.array([width, height])
    low, high = boxes_N4[:, :2].min(axis=0), boxes_N4[:, 2:].max(axis=0)
    share = min(1.0, float(((high - low) * (1 + 2 * _AROUND) / frame).max()))
    size = np.maximum(1, np.rint(frame * share))
    start = np.clip(np.rint((low + high - size) / 2), 0, frame - size)
    left, top = (int(v) for v in start)
    return left, top, left + int(size[0]), top + int(size[1])


def _iou(a_N4: F32, b_M4: F32) -> F32:
    low = np.maximum(a_N4[:, None, :2], b_M4[None, :, :2])
    high = np.minimum(a_N4[:, None, 2:], b_M4[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (a_N4, b_M4)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.asarray(shared / np.maximum(union, 1e-6), np.float32)
