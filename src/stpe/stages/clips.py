"""Clips: every chunk cut evenly into pieces of about the time the classifier was trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa

from stpe.models.notes import note
from stpe.models.roles import ClipClassifier
from stpe.signals import schema
from stpe.stages.stage import CLIPS, Output, Stage, Window
from stpe.video.frame import Frame

COLUMNS = ("start_pts", "end_pts", "embedding", "classes", "class_confidence", "surprise")
# A piece of video shorter than this share of the classifier's length says too little of motion.
_SHORTEST = 1 / 3


class Clips(Stage):
    """`clips` rows with embedding, classes, and how far these can be believed.

    Even pieces leave no gap between clips, and no leftover of a few frames at a chunk's end. The
    clip's number is the decoder index of its first frame: unique and in time order however the
    chunks are spread over workers.
    """

    name = "clips"
    version = "3"
    writes = tuple(f"clips.{column}" for column in COLUMNS)
    roles = ("clip_classifier",)
    grid = CLIPS
    length = None

    def process(self, window: Window) -> Output:
        """One row a clip; none where the chunk is too short for one, which is noted unless the
        video just ends there."""
        model: ClipClassifier = self.models["clip_classifier"]
        frames = window.core_frames
        rows = []
        length = round(model.length * (CLIPS.fps or model.fps) / model.fps)
        pieces = _pieces(frames, length, window.span.end_pts)
        if not pieces and not window.span.last:
            note(
                f"clips: parts of the video that are held at once have fewer than the "
                f"{math.ceil(length * _SHORTEST)} frames of a clip, and so no clip: the video has "
                "few frames there, or they are too large (give a lower --fps or --resolution)"
            )
        for clip, end_pts in pieces:
            result = model.classify(np.stack([frame.image for frame in clip]))
            rows.append(
                {
                    "clip_id": clip[0].index,
                    "start_pts": clip[0].pts,
                    "end_pts": end_pts,
                    "embedding": result.embedding_D,
                    "classes": [
                        {"label": label, "confidence": probability}
                        for label, probability in result.classes
                    ],
                    "class_confidence": result.class_confidence,
                    "surprise": result.surprise,
                }
            )
        return Output({"clips": pa.Table.from_pylist(rows, schema("clips", COLUMNS))})


def _pieces(
    frames: Sequence[Frame], length: int, chunk_end: float
) -> list[tuple[Sequence[Frame], float]]:
    """Even pieces of about `length` frames, each with the pts at which its last frame ends."""
    if len(frames) < length * _SHORTEST:
        return []
    count = max(1, round(len(frames) / length))
    borders = [round(i * len(frames) / count) for i in range(count + 1)]
    # The chunk's last frame lasts as long as the others, but not into the next chunk.
    interval = (frames[-1].pts - frames[0].pts) / (len(frames) - 1)
    ends = [frame.pts for frame in frames[1:]] + [min(frames[-1].pts + interval, chunk_end)]
    return [(frames[first:end], ends[end - 1]) for first, end in pairwise(borders)]
