"""Which pictures a shot detector is shown: those of a video at the rate such models know.

A detector that was trained on 24 to 30 frames a second reads a slide show at one frame a second as
fast motion, and a dissolve at 240 frames a second as a still. So it is shown what a viewer would
see at about that rate: a frame that stays on is shown as often as it would be displayed, and of
frames that follow each other faster the first of every 1/32 s. Ordinary rates pass unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

#: Of frames closer together than this, one is shown. 30 frames a second stay what they are.
TICK_S = 1 / 32
#: A frame that stays on for so long is shown repeatedly, at SHOWN_HZ. 7 frames a second and more
#: stay what they are.
HELD_S = 0.15
SHOWN_HZ = 25.0
#: What stays on for longer than twice a detector's context tells it no more.
MOST_REPEATS = 50


def shown(pts_N: NDArray[np.float64]) -> I64:
    """The frame behind each picture that the detector is shown, M rising indices of `pts_N`
    (seconds, rising). The last frame is shown once, since nothing says how long it stays.

    >>> shown(np.array([0.0, 0.04, 0.08])).tolist()
    [0, 1, 2]
    >>> shown(np.array([0.0, 0.2, 0.21, 0.22])).tolist()
    [0, 0, 0, 0, 0, 1, 3]
    """
    tick = np.floor(pts_N / TICK_S + 1e-6)
    chosen = np.flatnonzero(np.concatenate([[True], np.diff(tick) > 0]))
    gap = np.diff(pts_N[chosen])
    times = np.where(gap < HELD_S, 1, np.clip(np.round(gap * SHOWN_HZ), 1, MOST_REPEATS))
    return np.repeat(chosen, np.append(times, 1).astype(np.int64))


@dataclass(frozen=True)
class Answer:
    """What a detector said of the pictures it was shown: `shown_M` as of `shown`, `cut_M` and
    `gradual_M` in 0..1."""

    shown_M: I64
    cut_M: F32
    gradual_M: F32

    def of_frames(self, change_N: F32) -> tuple[F32, F32]:
        """(cut_N, gradual_N) of every frame behind the pictures.

        `change_N` is how much each frame differs from the one before. A change seen between two
        pictures belongs to the frame among those that were not shown where most changes; one seen
        beside the first showing of a frame that stays on, to that frame.
        """
        count = len(change_N)
        cut_N, gradual_N = np.zeros(count, np.float32), np.zeros(count, np.float32)
        begins = np.flatnonzero(np.concatenate([[True], np.diff(self.shown_M) > 0]))
        ends = np.append(begins[1:], len(self.shown_M))
        before, before_cut = -1, 0.0
        for begin, end in zip(begins, ends, strict=True):
            frame = int(self.shown_M[begin])
            low = begin - 1 if begin and self._held(int(begin) - 1) else begin
            high = begin + 1 if end - begin > 1 else begin
            cut = float(self.cut_M[low : high + 1].max())
            between = slice(before + 1, frame + 1)
            cut_N[between] = min(cut, before_cut)
            cut_N[before + 1 + int(np.argmax(change_N[between]))] = cut
            gradual_N[between] = np.median(self.gradual_M[begin:end])
            before, before_cut = frame, cut
        return cut_N, gradual_N

    def _held(self, place: int) -> bool:
        """Whether the picture repeats the one before it."""
        return bool(place and self.shown_M[place] == self.shown_M[place - 1])
