"""Clips: every chunk cut evenly into pieces that the classifier can be shown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa

from stpe.models.catalog import Model
from stpe.models.clip_input import clip_count, clip_input
from stpe.models.notes import note
from stpe.models.roles import ClipClassifier
from stpe.signals import schema
from stpe.stages.stage import CLIPS, Output, Stage, Window
from stpe.video.frame import Frame, Grid

COLUMNS = ("start_pts", "end_pts", "embedding", "classes", "class_confidence", "surprise")
# A piece of video shorter than this share of the classifier's length says too little of motion;
# where it sees fewer frames as they are, one shorter than this.
_SHORTEST = 1 / 3
_SHORTEST_S = 0.85
# Below this share of the rate that the classifier was trained on, motion looks faster to it.
_SLOW = 0.75


class Clips(Stage):
    """`clips` rows with embedding, classes, and how far these can be believed.

    Even pieces leave no gap between clips, and no leftover of a few frames at a chunk's end. A
    classifier that resamples gets pieces of about the time it was trained on; another gets its own
    rate and size of frames, as many as it takes or fewer, so that none is shown twice. The clip's
    number is the decoder index of its first frame: unique and in time order however the
    chunks are spread over workers.
    """

    name = "clips"
    version = "3"
    writes = tuple(f"clips.{column}" for column in COLUMNS)
    roles = ("clip_classifier",)
    grid = CLIPS
    length = None

    @classmethod
    def grid_for(cls, models: Mapping[str, Model]) -> Grid | None:
        """Of the rate and size that the classifier was trained on, where it says them."""
        model = models.get("clip_classifier")
        wanted = None if model is None else clip_input(model)
        if wanted is None:
            return CLIPS
        return replace(CLIPS, fps=wanted.fps, long_side=None, short_side=wanted.short_side)

    def process(self, window: Window) -> Output:
        """One row a clip; none where the chunk is too short for one, which is noted unless the
        video just ends there."""
        model: ClipClassifier = self.models["clip_classifier"]
        frames = window.core_frames
        rows = []
        if model.resamples:
            length = round(model.length * (CLIPS.fps or model.fps) / model.fps)
            shortest = math.ceil(length * _SHORTEST)
        else:
            length = model.length
            shortest = _slowly(frames, model.fps, max(2, math.ceil(_SHORTEST_S * model.fps)))
        count = clip_count(len(frames), length, model.resamples)
        pieces = _pieces(frames, count, window.span.end_pts) if len(frames) >= shortest else []
        if not pieces and not window.span.last:
            note(
                f"clips: parts of the video that are held at once have fewer than the "
                f"{shortest} frames of a clip, and so no clip: the video has "
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


def _slowly(frames: Sequence[Frame], fps: float, shortest: int) -> int:
    """Frames a clip must have at the rate that the video has, which is noted where it is lower
    than the classifier's."""
    if len(frames) < 2:
        return shortest
    rate = (len(frames) - 1) / (frames[-1].pts - frames[0].pts)
    if rate >= _SLOW * fps:
        return shortest
    note(
        f"clips: the classifier was trained on {fps:g} frames a second and the video has fewer: "
        "motion looks faster to it than it is"
    )
    return max(2, math.ceil(_SHORTEST_S * rate))


def _pieces(
    frames: Sequence[Frame], count: int, chunk_end: float
) -> list[tuple[Sequence[Frame], float]]:
    """`count` even pieces, each with the pts at which its last frame ends."""
    borders = [round(i * len(frames) / count) for i in range(count + 1)]
    # The chunk's last frame lasts as long as the others, but not into the next chunk.
    interval = (frames[-1].pts - frames[0].pts) / (len(frames) - 1)
    ends = [frame.pts for frame in frames[1:]] + [min(frames[-1].pts + interval, chunk_end)]
    return [(frames[first:end], ends[end - 1]) for first, end in pairwise(borders)]
