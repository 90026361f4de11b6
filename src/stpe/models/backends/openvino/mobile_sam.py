"""Boxes and points to masks: MobileSAM on OpenVINO, without torch.

The image's long side becomes 1024 pixels and the short side is padded only to a multiple of 16,
not to a square: for 16:9 that is 0.56 of the work. Positions are encoded as in the square the
network was trained on, of which the picture is the top left.
Paper: Zhang et al., Faster Segment Anything: Towards Lightweight SAM for Mobile, 2023.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import cv2
import numpy as np
from numpy.typing import NDArray

from stpe.errors import ModelError
from stpe.models import weights
from stpe.models.backends.openvino import mobile_sam_graphs as graphs
from stpe.models.backends.openvino.session import Session
from stpe.models.roles import F32, Masks
from stpe.models.tensors import read_torch
from stpe.video.frame import ImageHW3

LONG_SIDE = 1024
STRIDE = 16  # network pixels a cell of the embedding
BATCH = 4  # prompts a decoder call; larger ones are no faster a prompt and take more memory
GRAPHS_VERSION = "2"
BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT, PADDING = 0, 1, 2, 3, 4


def load(files: Mapping[str, Path], options: Mapping[str, Any]) -> MobileSam:
    """`files` holds `mobile_sam.pt`; its graphs are built once and cached."""
    checkpoint = files["mobile_sam.pt"]
    tensors = read_torch(checkpoint)
    encoder, decoder = (
        weights.derived([checkpoint], name, GRAPHS_VERSION, partial(_save, build, tensors))
        for name, build in (
            ("mobile_sam_encoder.onnx", graphs.encoder),
            ("mobile_sam_decoder.onnx", graphs.decoder),
        )
    )
    return MobileSam(encoder, decoder, tensors)


def _save(build: Any, tensors: graphs.Tensors, path: Path) -> None:
    build(tensors).save(path)


@dataclass(frozen=True, slots=True)
class Encoded:
    """One image's encoding.

    Attributes:
        embedding: float32 1x256xhxw.
        height, width: size of the image given.
        scale: network pixels an image pixel.
    """

    embedding: F32
    height: int
    width: int
    scale: float


class MobileSam:
    """Role `segmenter`, prompted by boxes and points.

    Args:
        encoder, decoder: the ONNX graphs of `mobile_sam_graphs`.
        tensors: the checkpoint, for the prompt encoding.

    Raises:
        ModelError: a tensor of the prompt encoder is missing.
    """

    accepts_text = False

    def __init__(self, encoder: Path, decoder: Path, tensors: graphs.Tensors) -> None:
        self._encoder = Session(encoder, name="mobile_sam encoder")
        self._decoder = Session(decoder, name="mobile_sam decoder")
        self._frequencies, self._kinds = graphs.prompt_weights(tensors)
        self._positions: dict[tuple[int, int], F32] = {}

    def encode(self, image: ImageHW3) -> Encoded:
        """Encode an image once for any number of prompts."""
        height, width = image.shape[:2]
        scale = LONG_SIDE / max(height, width)
        rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
        smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        resized = cv2.resize(image, (columns, rows), interpolation=smooth)
        canvas = np.zeros((1, 3, -(-rows // STRIDE) * STRIDE, -(-columns // STRIDE) * STRIDE), "f4")
        normal = zip(cv2.split(resized), graphs.PIXEL_MEAN, graphs.PIXEL_STD, strict=True)
        for channel, (plane, mean, std) in enumerate(normal):
            inside = canvas[0, channel, :rows, :columns]
            np.subtract(plane, mean, out=inside)
            inside /= std
        return Encoded(self._encoder.run({"image": canvas})[0], height, width, scale)

    def from_boxes(self, encoded: Encoded, boxes_N4: F32) -> Masks:
        """One mask a box (xyxy pixels of the encoded image)."""
        corners = np.asarray(boxes_N4, np.float32).reshape(-1, 2, 2)
        kinds = np.tile(np.array([TOP_LEFT, BOTTOM_RIGHT]), (len(corners), 1))
        return self._masks(encoded, corners, kinds, ambiguous=False)

    def from_points(self, encoded: Encoded, points_NP2: F32, labels_NP: NDArray[np.int32]) -> Masks:
        """One mask a prompt of P points (x, y pixels); label 1 foreground, 0 background.

        A single point is ambiguous (part, whole, group): of the three masks for it, the one with
        the best predicted IoU is returned.
        """
        points = np.asarray(points_NP2, np.float32)
        kinds = np.where(np.asarray(labels_NP) > 0, FOREGROUND, BACKGROUND)
        padding = np.zeros((len(points), 1, 2), np.float32)
        points = np.concatenate([points, padding], 1)
        kinds = np.concatenate([kinds, np.full((len(points), 1), PADDING)], 1)
        return self._masks(encoded, points, kinds, ambiguous=points.shape[1] == 2)

    def candidates(self, encoded: Encoded, box_4: F32, points_P2: F32) -> Masks:
        """All four masks for one object, told by a box (xyxy) and points on it together: the one
        for unambiguous prompts, then part, whole and group."""
        places = np.concatenate([points_P2, np.reshape(box_4, (2, 2))]).astype(np.float32)[None]
        kinds = np.array([[FOREGROUND] * len(points_P2) + [TOP_LEFT, BOTTOM_RIGHT]])
        logits, quality = self._decoder.run(
            {
                "embedding": encoded.embedding,
                "position": self._position(
                    (encoded.embedding.shape[2], encoded.embedding.shape[3])
                ),
                "prompts": self._prompts(places, kinds, encoded.scale),
            }
        )
        masks = np.zeros((logits.shape[1], encoded.height, encoded.width), bool)
        for mask, logit in zip(masks, logits[0], strict=True):
            _fill(mask, logit, encoded)
        return Masks(masks, np.clip(quality[0], 0, 1).astype(np.float32))

    def from_text(
        self, encoded: Encoded, concepts: Sequence[str], threshold: float = 0.5
    ) -> NoReturn:
        """Raises ModelError: this model does not read text."""
        raise ModelError("MobileSAM takes boxes and points, not text; use a segmenter that does")

    def _masks(
        self, encoded: Encoded, points_NP2: F32, kinds_NP: NDArray[Any], *, ambiguous: bool
    ) -> Masks:
        count = len(points_NP2)
        masks = np.zeros((count, encoded.height, encoded.width), bool)
        scores = np.zeros(count, np.float32)
        grid = (encoded.embedding.shape[2], encoded.embedding.shape[3])
        prompts = self._prompts(points_NP2, kinds_NP, encoded.scale)
        for start in range(0, count, BATCH):
            batch = prompts[start : start + BATCH]
            real = len(batch)
            padded = np.concatenate([batch, np.repeat(batch[-1:], (-real) % BATCH, 0)])
            logits, quality = self._decoder.run(
                {
                    "embedding": encoded.embedding,
                    "position": self._position(grid),
                    "prompts": padded if real > 1 else batch,
                }
            )
            for i in range(real):
                best = 1 + int(quality[i, 1:].argmax()) if ambiguous else 0
                _fill(masks[start + i], logits[i, best], encoded)
                scores[start + i] = np.clip(quality[i, best], 0, 1)
        return Masks(masks, scores)

    def _prompts(self, points_NP2: F32, kinds_NP: NDArray[Any], scale: float) -> F32:
        tokens = self._fourier((points_NP2 * scale + 0.5) / LONG_SIDE)
        tokens[kinds_NP == PADDING] = 0
        return np.asarray(tokens + self._kinds[kinds_NP], np.float32)

    def _position(self, grid: tuple[int, int]) -> F32:
        """Encoding of the centre of each cell, 1xLx256."""
        if grid not in self._positions:
            y, x = np.mgrid[: grid[0], : grid[1]].astype(np.float32) + 0.5
            cells = np.stack([x, y], -1).reshape(1, -1, 2) * (STRIDE / LONG_SIDE)
            self._positions[grid] = self._fourier(cells)
        return self._positions[grid]

    def _fourier(self, unit_xy: NDArray[Any]) -> F32:
        """Random Fourier features of coordinates in 0..1, (..., 2) -> (..., 256)."""
        angle = 2 * np.pi * ((2 * unit_xy - 1).astype(np.float32) @ self._frequencies)
        return np.concatenate([np.sin(angle), np.cos(angle)], -1).astype(np.float32)

    def close(self) -> None:
        """Free the compiled graphs."""
        self._encoder.close()
        self._decoder.close()


def _fill(mask_HW: NDArray[np.bool_], logits_hw: F32, encoded: Encoded) -> None:
    """Set the mask where bilinear samples of the logits at the pixels' centres are above zero.

    A sample is positive only beside a positive logit, so the rest of the mask is not looked at.
    """
    positive = logits_hw > 0
    rows, columns = np.flatnonzero(positive.any(1)), np.flatnonzero(positive.any(0))
    if not len(rows):
        return
    step = encoded.scale * 4 / STRIDE
    y0, y1 = _between(rows, step, encoded.height)
    x0, x1 = _between(columns, step, encoded.width)
    offset = 0.5 * step - 0.5
    warp = np.array([[step, 0, offset + step * x0], [0, step, offset + step * y0]], np.float32)
    full = cv2.warpAffine(
        logits_hw.astype(np.float32),
        warp,
        (x1 - x0, y1 - y0),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    mask_HW[y0:y1, x0:x1] = full > 0


def _between(cells: NDArray[Any], step: float, limit: int) -> tuple[int, int]:
    """The pixels that a sample of these cells can reach."""
    first, last = math.floor((cells[0] - 1) / step), math.ceil((cells[-1] + 2) / step)
    return max(0, min(first, limit - 1)), max(1, min(last, limit))
