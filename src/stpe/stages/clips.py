"""Clips: every chunk cut evenly into pieces of about the length the classifier was trained on."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa

from stpe.models.roles import ClipClassifier
from stpe.signals import schema
from stpe.stages.stage import CLIPS, Output, Stage, Window

COLUMNS = ("start_pts", "end_pts", "embedding", "classes")
# A piece of video shorter than this share of the classifier's length says too little of motion.
_SHORTEST = 1 / 3


class Clips(Stage):
    """`clips` rows with embedding and classes.

    Even pieces leave no gap between clips, and no leftover of a few frames at a chunk's end. The
    clip's number is the decoder index of its first frame: unique and in time order however the
    chunks are spread over workers.
    """

    name = "clips"
    writes = tuple(f"clips.{column}" for column in COLUMNS)
    roles = ("clip_classifier",)
    grid = CLIPS
    length = None

    def process(self, window: Window) -> Output:
        """One row a clip; none where the chunk is too short for one."""
        model: ClipClassifier = self.models["clip_classifier"]
        frames = window.core_frames
        rows = []
        if len(frames) >= model.length * _SHORTEST:
            pieces = max(1, round(len(frames) / model.length))
            borders = [round(i * len(frames) / pieces) for i in range(pieces + 1)]
            for first, end in pairwise(borders):
                clip = frames[first:end]
                result = model.classify(np.stack([frame.image for frame in clip]))
                rows.append(
                    {
                        "clip_id": clip[0].index,
                        "start_pts": clip[0].pts,
                        "end_pts": frames[end].pts if end < len(frames) else window.span.end_pts,
                        "embedding": result.embedding_D,
                        "classes": [
                            {"label": label, "confidence": probability}
                            for label, probability in result.classes
                        ],
                    }
                )
        return Output({"clips": pa.Table.from_pylist(rows, schema("clips", COLUMNS))})
