"""How probable a change of shot is at each decoded frame."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from stpe.models.roles import ShotDetector
from stpe.signals import schema
from stpe.stages.stage import THUMBNAILS, Output, Stage, Window

COLUMNS = ("cut", "gradual")


class Transitions(Stage):
    """`transitions`: one row a decoded frame, windows of 50 with 25 frames of context each side."""

    name = "transitions"
    writes = tuple(f"transitions.{column}" for column in COLUMNS)
    roles = ("shot_detector",)
    grid = THUMBNAILS
    length = 50
    margin = (25, 25)

    def process(self, window: Window) -> Output:
        """Answer for the core; at the video's ends the first and last frame stand in for context.

        The context ahead is always filled, so that a cut near a window's edge is seen the same
        wherever the window lies.
        """
        detector: ShotDetector = self.models["shot_detector"]
        frames = [frame.image for frame in window.frames]
        before = self.margin[0] - window.before
        after = self.margin[1] - (len(frames) - window.before - window.core)
        frames = [frames[0]] * before + frames + [frames[-1]] * after
        cut, gradual = detector.transitions(np.stack(frames))
        core = slice(self.margin[0], self.margin[0] + window.core)
        return Output(
            {
                "transitions": pa.table(
                    {
                        "frame_index": [frame.index for frame in window.core_frames],
                        "pts": [frame.pts for frame in window.core_frames],
                        "cut": cut[core],
                        "gradual": gradual[core],
                    },
                    schema=schema("transitions", COLUMNS),
                )
            }
        )
