"""Clip and video embeddings, pooled from frame embeddings by parameter-free attention, or by a
temporal module that the user trained and named."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stpe.signals import schema
from stpe.stages.attention import F32, F64, attention_pool
from stpe.stages.stage import Output, Request, Stage, Window


class ClipPooling(Stage):
    """`clips.pooled_embedding`: the analysis frames inside each clip; null where there is none."""

    name = "clip_pooling"
    reads = ("frames.embedding", "clips.start_pts", "clips.end_pts")
    writes = ("clips.pooled_embedding",)
    options = ("pooling",)
    scope = "video"
    length = None

    def process(self, window: Window) -> Output:
        """Pool every clip of the video."""
        times_N, embeddings_ND = _embedded(window.rows["frames"])
        pool = _pooling(self.request)
        clips = window.rows["clips"]
        pooled: list[F32 | None] = []
        for start, end in zip(
            clips["start_pts"].to_pylist(), clips["end_pts"].to_pylist(), strict=True
        ):
            inside = slice(*np.searchsorted(times_N, [start, end], "left"))
            pooled.append(pool(embeddings_ND[inside], times_N[inside]))
        rows = clips.select(["clip_id"]).append_column(
            "pooled_embedding", pa.array(pooled, pa.list_(pa.float32()))
        )
        return Output({"clips": rows.cast(schema("clips", ("pooled_embedding",)))})


class VideoPooling(Stage):
    """`videos.clip_embedding`: all analysis frames of the video."""

    name = "video_pooling"
    reads = ("frames.embedding",)
    writes = ("videos.clip_embedding",)
    options = ("pooling",)
    scope = "video"
    length = None

    def process(self, window: Window) -> Output:
        """Pool the whole video."""
        times_N, embeddings_ND = _embedded(window.rows["frames"])
        row = {"clip_embedding": _pooling(self.request)(embeddings_ND, times_N)}
        return Output({"videos": pa.Table.from_pylist([row], schema("videos", row))})


def _pooling(request: Request) -> Callable[[F32, F64], F32 | None]:
    return attention_pool if request.pooling is None else request.pooling.read()


def _embedded(frames: pa.Table) -> tuple[F64, NDArray[np.float32]]:
    """(times_N, embeddings_ND) of the frames that have an embedding, in time order."""
    frames = frames.select(["pts", "embedding"]).drop_null().sort_by("pts").combine_chunks()
    if not frames.num_rows:
        return np.zeros(0), np.zeros((0, 1), np.float32)
    values = frames["embedding"].combine_chunks().flatten().to_numpy()
    return frames["pts"].to_numpy(), values.reshape(frames.num_rows, -1)
