"""Levels one and three of a frame: global embedding, dense features, saliency, feature edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stpe.models.roles import F32, ImageFeatures
from stpe.signals import schema
from stpe.stages.stage import ANALYSIS, Output, Stage, Window

COLUMNS = ("embedding", "dense", "dense_shape", "saliency", "saliency_shape", "edges")


class Features(Stage):
    """`frames` features of each analysis frame."""

    name = "features"
    writes = tuple(f"frames.{column}" for column in COLUMNS)
    roles = ("image_embedder",)
    grid = ANALYSIS

    def process(self, window: Window) -> Output:
        """One row a frame."""
        frames = window.core_frames
        found: list[ImageFeatures] = self.models["image_embedder"].embed([f.image for f in frames])
        rows = [
            {
                "frame_index": frame.index,
                "pts": frame.pts,
                "embedding": features.global_D,
                "dense": features.dense_hwD.ravel(),
                "dense_shape": list(features.dense_hwD.shape),
                "edges": feature_edges(features.dense_hwD).astype(np.float16).ravel(),
                **_saliency(features.saliency_hw),
            }
            for frame, features in zip(frames, found, strict=True)
        ]
        return Output({"frames": pa.Table.from_pylist(rows, schema("frames", COLUMNS))})


def _saliency(saliency_hw: F32 | None) -> dict[str, Any]:
    if saliency_hw is None:
        return {"saliency": None, "saliency_shape": None}
    return {
        "saliency": saliency_hw.astype(np.float16).ravel(),
        "saliency_shape": list(saliency_hw.shape),
    }


def feature_edges(dense_hwD: NDArray[Any]) -> F32:
    """Largest cosine distance from each patch to its four neighbours, clipped to 0..1.

    >>> import numpy as np
    >>> left_right = np.array([[[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]]])
    >>> feature_edges(left_right).tolist()
    [[1.0, 1.0, 0.0]]
    """
    x = dense_hwD.astype(np.float32)
    x = x / (np.linalg.norm(x, axis=-1, keepdims=True) + 1e-9)
    edges = np.zeros(x.shape[:2], np.float32)
    down = 1 - (x[1:] * x[:-1]).sum(-1)
    across = 1 - (x[:, 1:] * x[:, :-1]).sum(-1)
    for place, distance in (
        (edges[1:], down),
        (edges[:-1], down),
        (edges[:, 1:], across),
        (edges[:, :-1], across),
    ):
        np.maximum(place, distance, out=place)
    return np.clip(edges, 0, 1)
