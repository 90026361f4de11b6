"""Joints of the people among the objects."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa

from stpe.models.roles import F32, PoseEstimator, Poses
from stpe.signals import schema
from stpe.stages.stage import ANALYSIS, Output, Stage, Window
from stpe.video.frame import ImageHW3

COLUMNS = ("keypoints", "keypoints_confidence")
# A detected person is already evidence, so a pose may be less sure of itself than one alone.
_THRESHOLD = 0.2
_OVERLAP = 0.3
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


def pose_of_boxes(model: PoseEstimator, image: ImageHW3, boxes_N4: F32) -> list[F32 | None]:
    """17x3 joints (pixels of `image`) for each box, or None where no pose fits it.

    The model looks at the part of the image that holds the people, so that distant people are
    enlarged, at no cost.
    """
    left, top, right, bottom = _region(boxes_N4, image.shape[1], image.shape[0])
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


def _region(boxes_N4: F32, width: int, height: int) -> tuple[int, int, int, int]:
    low, high = boxes_N4[:, :2].min(axis=0), boxes_N4[:, 2:].max(axis=0)
    margin = (high - low) * _AROUND
    left, top = (max(0, math.floor(v)) for v in low - margin)
    right, bottom = (math.ceil(v) for v in high + margin)
    return (
        min(left, width - 1),
        min(top, height - 1),
        max(left + 1, min(right, width)),
        max(top + 1, min(bottom, height)),
    )


def _iou(a_N4: F32, b_M4: F32) -> F32:
    low = np.maximum(a_N4[:, None, :2], b_M4[None, :, :2])
    high = np.minimum(a_N4[:, None, 2:], b_M4[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (a_N4, b_M4)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.asarray(shared / np.maximum(union, 1e-6), np.float32)
