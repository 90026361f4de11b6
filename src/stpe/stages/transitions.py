"""How probable a change of shot is at each decoded frame."""

from __future__ import annotations

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stpe.models.roles import ShotDetector
from stpe.signals import schema
from stpe.stages.picture_change import card_cut, changes, jumps, other_colours
from stpe.stages.shown_pictures import HELD_S, Answer, shown
from stpe.stages.stage import THUMBNAILS, Output, Stage, Window

COLUMNS = ("cut", "gradual")
_ASKED = 50  # pictures that a detector answers for in one call, beside those of its context


class Transitions(Stage):
    """`transitions`: one row a decoded frame.

    The detector is shown pictures at the rate it knows (`stpe.stages.shown_pictures`); a second
    witness speaks where it is out of its depth (`stpe.stages.picture_change`).
    """

    name = "transitions"
    version = "2"
    writes = tuple(f"transitions.{column}" for column in COLUMNS)
    roles = ("shot_detector",)
    grid = THUMBNAILS
    length = None
    margin = (1, 1)
    margin_s = 2.0

    def process(self, window: Window) -> Output:
        """One row for each frame of the core."""
        images = [frame.image for frame in window.frames]
        pts_N = np.array([frame.pts for frame in window.frames])
        change_N = changes(images)
        answer = self._asked(window, shown(pts_N))
        cut_N, gradual_N = answer.of_frames(change_N)
        core = range(window.before, window.before + window.core)
        for at in core:
            held = at > 0 and pts_N[at] - pts_N[at - 1] >= HELD_S
            if held and cut_N[at] > 0 and not jumps(change_N, at):
                cut_N[at] = min(cut_N[at], other_colours(images[at - 1], images[at]))
            cut_N[at] = max(cut_N[at], card_cut(images, pts_N, change_N, at))
        return Output(
            {
                "transitions": pa.table(
                    {
                        "frame_index": [frame.index for frame in window.core_frames],
                        "pts": [frame.pts for frame in window.core_frames],
                        "cut": cut_N[core.start : core.stop],
                        "gradual": gradual_N[core.start : core.stop],
                    },
                    schema=schema("transitions", COLUMNS),
                )
            }
        )

    def _asked(self, window: Window, shown_M: NDArray[np.int64]) -> Answer:
        """What the detector says of the pictures of the core, 0 for those of the context.

        Its own context is always filled, at the video's ends by the first and last picture, so
        that a cut is seen the same wherever in a window it lies.
        """
        detector: ShotDetector = self.models["shot_detector"]
        context = detector.context
        # A frame that is not shown is answered by the next one that is.
        first = int(np.searchsorted(shown_M, window.before))
        last = int(np.searchsorted(shown_M, window.before + window.core - 1))
        end = int(np.searchsorted(shown_M, shown_M[min(last, len(shown_M) - 1)], "right"))
        first = min(first, end - 1)
        places = np.clip(np.arange(first - context, end + context), 0, len(shown_M) - 1)
        small = _small(window, shown_M[places], detector.frame_size)
        found = np.zeros((2, len(shown_M)), np.float32)
        # A few pictures at a time: where none of them differs, the answer is known from before.
        for start in range(0, end - first, _ASKED):
            count = min(_ASKED, end - first - start)
            said = detector.transitions(small[start : start + count + 2 * context])
            at = slice(first + start, first + start + count)
            found[:, at] = [head[context : context + count] for head in said]
        return Answer(shown_M, found[0], found[1])


def _small(window: Window, frames_M: NDArray[np.int64], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The frames as a detector takes them, M x height x width x 3."""
    needed = {
        int(number): cv2.resize(
            window.frames[int(number)].image, size, interpolation=cv2.INTER_AREA
        )
        for number in np.unique(frames_M)
    }
    return np.stack([needed[int(number)] for number in frames_M])
