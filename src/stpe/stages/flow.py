"""Optical flow of each interval of the motion grid, one vector a cell, each with a confidence."""

from __future__ import annotations

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stpe.models.roles import F32, FlowEstimator
from stpe.signals import schema
from stpe.stages.stage import MOTION, Output, Stage, Window
from stpe.video.frame import ImageHW3

COLUMNS = (
    "previous_frame_index",
    "interval_s",
    "flow",
    "flow_shape",
    "flow_confidence",
)
_CELL = 8  # pixels of the motion grid
_SMALL = 3  # texture is looked for in an image this many times smaller
# Texture whose weaker gradient is below one grey level in 255 a pixel is not told from noise.
_NOISE = np.float32((0.8 / 255) ** 2)


class Flow(Stage):
    """`motion` rows: flow from the previous frame of the grid to this one."""

    name = "flow"
    version = "2"
    writes = tuple(f"motion.{column}" for column in COLUMNS)
    roles = ("flow",)
    grid = MOTION
    margin = (1, 0)

    def process(self, window: Window) -> Output:
        """One row, or none for the video's first frame."""
        if not window.before:
            return Output({"motion": schema("motion", COLUMNS).empty_table()})
        earlier, later = window.frames[window.before - 1 : window.before + 1]
        flow_hw2, confidence_hw = cell_flow(self.models["flow"], earlier.image, later.image)
        height, width = later.image.shape[:2]
        to_stored = np.array([window.source.width / width, window.source.height / height])
        row = {
            "frame_index": later.index,
            "pts": later.pts,
            "previous_frame_index": earlier.index,
            "interval_s": later.pts - earlier.pts,
            "flow": (flow_hw2 * to_stored).astype(np.float16).ravel(),
            "flow_shape": list(flow_hw2.shape),
            "flow_confidence": confidence_hw.astype(np.float16).ravel(),
        }
        return Output({"motion": pa.Table.from_pylist([row], schema("motion", COLUMNS))})


def cell_flow(
    model: FlowEstimator, earlier: ImageHW3, later: ImageHW3
) -> tuple[F32, NDArray[np.float32]]:
    """Flow hxwx2 (pixels of these images) at the centres of hxw cells, and its confidence hxw.

    Confidence is agreement times texture. Agreement is one where following the flow there and the
    backward flow home (of images as much smaller as the model allows) ends where it began, and
    falls off with the squared gap relative to the tolerance of Sundaram et al. 2010 (ECCV, "Dense
    point trajectories by GPU-accelerated large displacement optical flow"); it is zero where the
    flow leaves the image. Texture is the weaker eigenvalue of the gradient's structure tensor
    against sensor noise.
    """
    height, width = earlier.shape[:2]
    rows, columns = -(-height // _CELL), -(-width // _CELL)
    flow = _cells(model.flow(earlier, later), rows, columns)
    target_x = (np.arange(columns, dtype=np.float32) + 0.5) * width / columns - 0.5 + flow[..., 0]
    target_y = (np.arange(rows, dtype=np.float32) + 0.5)[:, None] * height / rows - 0.5
    target_y = target_y + flow[..., 1]

    back_later, back_earlier = (_smaller(image, model.coarser) for image in (later, earlier))
    small_height, small_width = back_later.shape[:2]
    scale = np.array([width / small_width, height / small_height], np.float32)
    back = cv2.remap(
        model.flow(back_later, back_earlier) * scale,
        ((target_x + 0.5) / scale[0] - 0.5).astype(np.float32),
        ((target_y + 0.5) / scale[1] - 0.5).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    gap = ((flow + back) ** 2).sum(axis=2)
    agreement = np.exp(-gap / (0.01 * ((flow**2).sum(axis=2) + (back**2).sum(axis=2)) + 0.5))
    inside = (target_x >= 0) & (target_x < width) & (target_y >= 0) & (target_y < height)

    gray = cv2.cvtColor(_smaller(earlier, _SMALL), cv2.COLOR_RGB2GRAY)
    edge = _cells(cv2.cornerMinEigenVal(gray, 5, 3), rows, columns)
    return flow, np.asarray(agreement * inside * edge / (edge + _NOISE), np.float32)


def _smaller(image: ImageHW3, times: int) -> ImageHW3:
    if times == 1:
        return image  # the array itself: by it a model knows what it has seen
    height, width = image.shape[:2]
    size = max(1, width // times), max(1, height // times)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _cells(image: F32, rows: int, columns: int) -> F32:
    # Bilinear reduction samples at the new pixels' centres.
    return np.asarray(
        cv2.resize(image, (columns, rows), interpolation=cv2.INTER_LINEAR), np.float32
    )
