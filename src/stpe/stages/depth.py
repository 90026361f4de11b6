"""Depth of a frame, and of the objects in it."""

from __future__ import annotations

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pycocotools import mask as coco

from stpe.clocks.numbering import base_of
from stpe.geometry.supplied import SuppliedDepth, supplied
from stpe.models.notes import note
from stpe.models.roles import F32, DepthEstimator
from stpe.rle import decode_mask, with_bytes
from stpe.signals import schema
from stpe.stages.cover import cover
from stpe.stages.stage import ANALYSIS, Output, Stage, Window
from stpe.state.camera_file import read_depth
from stpe.video.frame import Frame, SourceInfo

#: Analysis pixels a stored depth cell; each cell is the mean of its pixels.
STRIDE = 8

_FRAME = ("depth", "depth_shape", "depth_unit", "depth_confidence")
_OBJECT = ("depth", "depth_confidence")


class Depth(Stage):
    """`frames.depth`: the depth map of each analysis frame, an eighth of its size.

    Depth images that the user gives take the model's place.
    """

    name = "depth"
    version = "2"
    reads = ("frames.frame_index",)
    writes = tuple(f"frames.{column}" for column in _FRAME)
    roles = ("depth",)
    options = ("depth_images",)
    grid = ANALYSIS

    def process(self, window: Window) -> Output:
        """One row a frame."""
        (frame,) = window.core_frames
        given = supplied(self.request.depth_images).depth
        if given is not None:
            return _given(given, frame, window.source)
        estimator: DepthEstimator = self.models["depth"]
        (found,) = estimator.depth([frame.image])
        height, width = (max(1, round(n / STRIDE)) for n in found.depth_HW.shape)
        small = cv2.resize(found.depth_HW, (width, height), interpolation=cv2.INTER_AREA)
        row = {
            "frame_index": frame.index,
            "pts": frame.pts,
            "depth": small.astype(np.float16).ravel(),
            "depth_shape": [height, width],
            "depth_unit": found.unit,
            "depth_confidence": found.confidence,
        }
        return Output({"frames": pa.Table.from_pylist([row], schema("frames", _FRAME))})


def _given(given: SuppliedDepth, frame: Frame, source: SourceInfo) -> Output:
    """A row from the user's depth image of a frame; null where there is none."""
    row: dict[str, object] = {"frame_index": frame.index, "pts": frame.pts}
    count = source.frame_count
    depth_HW = read_depth(given, frame.index, (source.width, source.height), count)
    _, said = base_of(given.files.keys(), count)
    if said:
        note(f"--camera, depth: {said}")
    if depth_HW is None:
        note("--camera has no depth image of some analysed frames: their depth is null")
    else:
        height, width = (max(1, round(n / STRIDE)) for n in frame.image.shape[:2])
        known = np.isfinite(depth_HW).astype(np.float32)
        total, share = (
            cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
            for image in (np.nan_to_num(depth_HW), known)
        )
        small = np.where(share > 0, total / np.maximum(share, 1e-6), np.nan)
        row |= {
            "depth": small.astype(np.float16).ravel(),
            "depth_shape": [height, width],
            "depth_unit": given.unit,
            "depth_confidence": 1.0,
        }
    return Output({"frames": pa.Table.from_pylist([row], schema("frames", _FRAME))})


class ObjectDepth(Stage):
    """`objects.depth`: the median of the depth map inside each object's mask, or its box.

    The confidence is the map's, divided by one plus the spread of depths inside the object
    (interquartile range over median): a mask that reaches onto the background is trusted less.
    """

    name = "object_depth"
    version = "2"
    reads = ("frames.depth", "frames.depth_shape", "frames.depth_confidence", "objects.box_xyxy")
    optional = ("objects.mask_rle",)
    writes = tuple(f"objects.{column}" for column in _OBJECT)
    length = None

    def process(self, window: Window) -> Output:
        """One row an object; null where its frame has no depth."""
        maps: dict[int, tuple[F32, float]] = {}
        for row in window.rows["frames"].to_pylist():
            if row["depth"] is not None:
                depth_hw = np.asarray(row["depth"], np.float32).reshape(row["depth_shape"])
                maps[row["frame_index"]] = depth_hw, row["depth_confidence"]
        size = window.source.width, window.source.height
        rows = []
        for row in window.rows["objects"].to_pylist():
            depth, confidence = None, None
            if row["frame_index"] in maps:
                depth_hw, trust = maps[row["frame_index"]]
                inside = depth_hw[
                    _cells(depth_hw.shape, row["box_xyxy"], row.get("mask_rle"), size)
                ]
                inside = inside[np.isfinite(inside)]
                if inside.size:
                    low, depth, high = (float(q) for q in np.quantile(inside, (0.25, 0.5, 0.75)))
                    confidence = trust / (1 + (high - low) / max(depth, 1e-6))
            rows.append(
                {
                    "frame_index": row["frame_index"],
                    "object_id": row["object_id"],
                    "depth": depth,
                    "depth_confidence": confidence,
                }
            )
        return Output({"objects": pa.Table.from_pylist(rows, schema("objects", _OBJECT))})


def _cells(
    shape_hw: tuple[int, ...],
    box_xyxy: list[float],
    rle: dict[str, object] | None,
    size: tuple[int, int],
) -> NDArray[np.bool_]:
    """Cells of the depth map that an object covers by half; at least its most covered one."""
    height, width = shape_hw
    if rle is not None:
        x, y, w, h = coco.toBbox(with_bytes(rle))
        covered = cover(decode_mask(rle), (height, width), np.array([x, y, x + w, y + h], "f4"))
    else:
        x0, y0, x1, y1 = np.asarray(box_xyxy) * np.tile([width / size[0], height / size[1]], 2)
        across = np.clip(
            np.minimum(np.arange(width) + 1, x1) - np.maximum(np.arange(width), x0), 0, 1
        )
        down = np.clip(
            np.minimum(np.arange(height) + 1, y1) - np.maximum(np.arange(height), y0), 0, 1
        )
        covered = down[:, None] * across
    return np.asarray((covered > 0) & (covered >= min(0.5, float(covered.max()))), bool)
