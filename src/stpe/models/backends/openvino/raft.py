"""RAFT (Teed and Deng 2020, arXiv 2003.12039), the checkpoint trained on FlyingThings3D.

File: `raft-things.pth`. It runs in float32 unless told otherwise: bfloat16 limits its accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stpe.errors import UsageError
from stpe.models.backends.openvino import raft_graphs
from stpe.models.backends.openvino.fit import planar, resized
from stpe.models.backends.openvino.graph import Graph
from stpe.models.backends.openvino.session import Session
from stpe.models.roles import F32
from stpe.models.tensors import Tensors, read_torch
from stpe.models.weights import derived
from stpe.video.frame import ImageHW3

_CELL = 8
_SMALLEST = 128  # the coarsest correlation level needs two cells a side


class Raft:
    """Role FlowEstimator. Memory grows with the square of the area that is looked at, so images
    above `pixels` are looked at smaller and their flow enlarged."""

    coarser = 1  # its cells are 8 pixels

    def __init__(
        self, encode: Session, update: Session, enlarge: Session, iterations: int, pixels: int
    ) -> None:
        self._encode, self._update, self._enlarge = encode, update, enlarge
        self._iterations = iterations
        self._pixels = pixels

    def flow(self, image_a: ImageHW3, image_b: ImageHW3) -> F32:
        """HxWx2 float32 pixels from `image_a` to `image_b`.

        Raises:
            UsageError: the images differ in size.
        """
        if image_a.shape != image_b.shape:
            raise UsageError(
                f"flow needs two images of one size, not {image_a.shape} and {image_b.shape}"
            )
        height, width = image_a.shape[:2]
        scale = math.sqrt(min(1.0, self._pixels / (height * width)))
        small = max(1, round(width * scale)), max(1, round(height * scale))
        pads = _pads(*small)
        a, b = (_padded(resized(image, *small), pads) for image in (image_a, image_b))
        flow = self._padded_flow(a, b)[pads[0] :, pads[2] :][: small[1], : small[0]]
        if small != (width, height):
            flow = cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR)
            flow = flow * np.array([width / small[0], height / small[1]], np.float32)
        return np.ascontiguousarray(flow, np.float32)

    def _padded_flow(self, a: ImageHW3, b: ImageHW3) -> F32:
        encoded = self._encode.run({"a": planar(a, 1), "b": planar(b, 1)})
        names = [f"corr_{i}" for i in range(raft_graphs.LEVELS)]
        fixed: dict[str, NDArray[Any]] = dict(zip(names, encoded, strict=False))
        hidden, fixed["context"] = encoded[raft_graphs.LEVELS :]
        h, w = hidden.shape[2:]
        y, x = np.mgrid[:h, :w].astype(np.float32)
        fixed["cells"] = np.stack([x, y], axis=-1).reshape(-1, 1, 1, 2)
        flow = np.zeros((1, 2, h, w), np.float32)
        for _ in range(self._iterations):
            hidden, flow = self._update.run({**fixed, "hidden": hidden, "flow": flow})
        pixels = self._enlarge.run({"hidden": hidden, "flow": flow})[0]
        # 2 x (8 x 8) x (h x w) -> 8h x 8w x 2
        pixels = pixels.reshape(2, _CELL, _CELL, h, w).transpose(3, 1, 4, 2, 0)
        return np.asarray(pixels.reshape(_CELL * h, _CELL * w, 2), np.float32)

    def close(self) -> None:
        """Free the compiled graphs."""
        for session in (self._encode, self._update, self._enlarge):
            session.close()


def _pads(width: int, height: int) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) that make both sides whole cells and large enough."""
    down, right = (max(_SMALLEST, -(-n // _CELL) * _CELL) - n for n in (height, width))
    return down // 2, down - down // 2, right // 2, right - right // 2


def _padded(image: ImageHW3, pads: tuple[int, int, int, int]) -> ImageHW3:
    return np.asarray(cv2.copyMakeBorder(image, *pads, cv2.BORDER_REPLICATE), np.uint8)


def load(files: Mapping[str, Path], options: Mapping[str, Any]) -> Raft:
    """Options: `iterations` (default 12), `pixels` (largest area looked at, default 480 * 640),
    `precision` (f32, the default, or bf16)."""
    checkpoint = files["raft-things.pth"]
    tensors = read_torch(checkpoint)
    tensors = {name.removeprefix("module."): value for name, value in tensors.items()}

    def session(build: Callable[[Tensors], Graph]) -> Session:
        name = f"raft_{build.__name__}"
        graph = derived([checkpoint], f"{name}.onnx", "1", lambda path: build(tensors).save(path))
        return Session(graph, precision=options.get("precision", "f32"), name=name)

    return Raft(
        session(raft_graphs.encode),
        session(raft_graphs.update),
        session(raft_graphs.enlarge),
        int(options.get("iterations", 12)),
        int(options.get("pixels", 480 * 640)),
    )
