"""Objects of a Rerun recording: boxes, masks, joints with their skeleton, velocities."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from stpe.dataset.export.draw import color_of
from stpe.dataset.export.scene import Scene, SceneFrame
from stpe.dataset.export.skeleton import JOINTS, LEAST_SCORE, LINES
from stpe.rle import decode_mask

#: Half-transparent over the picture.
_OPACITY = 0.4


def log_classes(rr: Any, recording: Any, scene: Scene) -> None:
    """Name and colour of every identity, a class each: Rerun joins the joints of one class, so
    two people cannot share one."""
    classes = {_identity(o): o["label"] for f in scene.frames for o in f.objects}
    people = {_identity(o) for f in scene.frames for o in f.objects if o["keypoints"] is not None}
    joints = [rr.AnnotationInfo(n, name) for n, name in enumerate(JOINTS)]
    recording.log(
        scene.name,
        rr.AnnotationContext(
            [
                rr.ClassDescription(
                    info=(_class(n), f"#{n} {label}", color_of(n)),
                    keypoint_annotations=joints if n in people else [],
                    keypoint_connections=LINES if n in people else [],
                )
                for n, label in classes.items()
            ]
        ),
        static=True,
    )


def log_objects(
    rr: Any,
    recording: Any,
    root: str,
    frame: SceneFrame,
    shape: tuple[int, int],
    stored: tuple[int, int],
) -> None:
    """The objects of one frame, in pixels of the logged picture.

    Args:
        shape: (height, width) of that picture. stored: (width, height) of the stored size.
    """
    scale = np.array([shape[1] / stored[0], shape[0] / stored[1]])
    boxes = np.array([o["box_xyxy"] for o in frame.objects], float).reshape(-1, 4)
    boxes = boxes * np.tile(scale, 2)
    names = [
        o["label"] if o["track_id"] is None else f"#{o['track_id']} {o['label']}"
        for o in frame.objects
    ]
    recording.log(
        f"{root}/boxes",
        rr.Boxes2D(
            array=boxes,
            array_format=rr.Box2DFormat.XYXY,
            labels=names,
            colors=[color_of(_identity(o)) for o in frame.objects],
        ),
    )
    classes = np.zeros(shape, np.uint16)
    for item in sorted(frame.objects, key=lambda o: -(o["area_px"] or 0.0)):
        if item["mask_rle"] is not None:
            mask = decode_mask(item["mask_rle"]).astype(np.uint8)
            mask = cv2.resize(mask, shape[::-1], interpolation=cv2.INTER_NEAREST)
            classes[mask > 0] = _class(_identity(item))
    recording.log(f"{root}/masks", rr.SegmentationImage(classes, opacity=_OPACITY))
    _log_joints(rr, recording, root, frame, scale)
    moving = [
        (n, o["object_velocity_px_s"] or o["velocity_px_s"])
        for n, o in enumerate(frame.objects)
        if o["motion"] == "moving"
    ]
    moving = [(n, v) for n, v in moving if v is not None]
    recording.log(
        f"{root}/velocity",
        rr.Arrows2D(
            origins=[(boxes[n, :2] + boxes[n, 2:]) / 2 for n, _ in moving],
            vectors=[np.asarray(v) * scale for _, v in moving],
        ),
    )


def _log_joints(rr: Any, recording: Any, root: str, frame: SceneFrame, scale: Any) -> None:
    """Joints that were seen; an empty list where there are none, lest the last ones stay."""
    points, joints, classes = [], [], []
    for item in frame.objects:
        if item["keypoints"] is None:
            continue
        for number, (x, y, score) in enumerate(np.reshape(item["keypoints"], (-1, 3))):
            if score >= LEAST_SCORE:
                points.append(np.array([x, y]) * scale)
                joints.append(number)
                classes.append(_class(_identity(item)))
    recording.log(
        f"{root}/joints",
        rr.Points2D(
            np.reshape(points, (-1, 2)),
            radii=2.0,
            class_ids=classes,
            keypoint_ids=joints,
            show_labels=False,
        ),
    )


def _class(identity: int) -> int:
    """Class number of an identity; 0 is no object."""
    return identity % 65535 + 1


def _identity(item: dict[str, Any]) -> int:
    return int(item["object_id"] if item["track_id"] is None else item["track_id"])
