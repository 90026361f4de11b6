"""Synthetic flow of a known camera over a known scene."""

from __future__ import annotations

import numpy as np

from stpe.geometry.field import FlowField
from stpe.geometry.intrinsics import Intrinsics
from stpe.geometry.rotation import matrix_of

SIZE = (640, 480)
CAMERA = Intrinsics(525.0, 525.0, 320.0, 240.0)


def grid() -> tuple[np.ndarray, tuple[int, int]]:
    """Cell centres of a 60 x 45 grid over the frame."""
    h, w = 45, 60
    x, y = (np.arange(w) + 0.5) * SIZE[0] / w, (np.arange(h) + 0.5) * SIZE[1] / h
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2), (h, w)


def flow_of(rotation_deg, move, depth_N, zoom: float = 1.0) -> np.ndarray:
    """Flow when the camera turns and moves (in its earlier frame) before points at a depth."""
    points, _ = grid()
    rays = np.c_[CAMERA.rays(points), np.ones(len(points))]
    turn = matrix_of(np.radians(np.asarray(rotation_deg, float)))
    seen = (rays * np.asarray(depth_N)[:, None] - np.asarray(move, float)) @ turn
    later = seen[:, :2] / seen[:, 2:] * zoom * CAMERA.fx + [CAMERA.cx, CAMERA.cy]
    return later - points


def rough_depth(seed: int = 0) -> np.ndarray:
    """A room: a back wall, a floor that comes near, and boxes."""
    points, _ = grid()
    depth = np.minimum(4.0, 3.0 * 240 / np.maximum(points[:, 1] - 200, 60))
    rng = np.random.default_rng(seed)
    for _ in range(12):
        corner, side = rng.uniform(0, 0.8, 2) * SIZE, rng.uniform(40, 140, 2)
        inside = ((points > corner) & (points < corner + side)).all(axis=1)
        depth[inside] = rng.uniform(1.0, 3.5)
    return depth


def field_of(flow: np.ndarray, noise_px: float = 0.0, weight=None) -> FlowField:
    """A flow field, with noise if wanted."""
    points, shape = grid()
    noise = np.random.default_rng(1).normal(0, noise_px, flow.shape) if noise_px else 0.0
    return FlowField(
        points, flow + noise, np.ones(len(points)) if weight is None else weight, shape, SIZE
    )
