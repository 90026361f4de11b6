"""A sampled flow field as weighted point pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

#: Pixels of the motion grid from one flow sample to the next.
CELL = 8
_AROUND = 9  # cells: the neighbourhood in which a few samples speak for all
_SPEAKS = 0.1  # mean weight of a neighbourhood from which it is known


@dataclass(frozen=True)
class FlowField:
    """Flow at the centres of an h x w grid of cells that tile the frame.

    Attributes:
        points_N2: cell centres, row-major, in stored-frame pixels.
        flow_N2: displacement over the interval in stored-frame pixels.
        weight_N: 0..1, how far each sample can be trusted.
        shape: (h, w).
        size: (width, height) of the stored frame.
    """

    points_N2: F64
    flow_N2: F64
    weight_N: F64
    shape: tuple[int, int]
    size: tuple[int, int]

    @property
    def unit(self) -> float:
        """Stored-frame pixels in one pixel of the grid that flow was computed on: its noise."""
        return max(self.size) / (CELL * max(self.shape))

    @property
    def grid_hw2(self) -> F64:
        """The flow as an image."""
        return self.flow_N2.reshape(*self.shape, 2)

    def same(self, other: FlowField) -> bool:
        """Whether it is the other field, to the bit."""
        return self.size == other.size and all(
            np.array_equal(a, b)
            for a, b in ((self.flow_N2, other.flow_N2), (self.weight_N, other.weight_N))
        )

    @property
    def known_share(self) -> float:
        """Share of the frame's area whose surroundings hold flow that can be trusted."""
        weight = self.weight_N.reshape(self.shape).astype(np.float32)
        return float((cv2.blur(weight, (_AROUND, _AROUND)) > _SPEAKS).mean())


def flow_field(
    flow: Sequence[float] | NDArray[np.float16],
    confidence: Sequence[float] | NDArray[np.float16],
    shape: Sequence[int],
    size: tuple[int, int],
) -> FlowField:
    """The field of one `motion` row (`flow`, `flow_confidence`, `flow_shape`)."""
    h, w = int(shape[0]), int(shape[1])
    flow_N2 = np.asarray(flow, np.float64).reshape(-1, 2)
    weight = np.asarray(confidence, np.float64).reshape(-1)
    good = np.isfinite(flow_N2).all(axis=1) & np.isfinite(weight)
    x = (np.arange(w) + 0.5) * size[0] / w
    y = (np.arange(h) + 0.5) * size[1] / h
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    return FlowField(
        points, np.where(good[:, None], flow_N2, 0.0), np.where(good, weight, 0.0), (h, w), size
    )
