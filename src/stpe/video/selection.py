"""Which frames a sampling grid wants, decided from presentation times alone."""

from __future__ import annotations

import math

#: Two frames whose distances to a grid time differ by less than this are equally near.
_TIE_S = 1e-6

#: A last frame is held if it is shown for this many times the shortest time between two frames.
_HELD = 1.5


class Selection:
    """Decides, one frame behind, which frames are nearest to the times of a regular grid.

    Grid times are `first + k / fps` from the first frame's time up to the last frame's. The frame
    nearest to a grid time is selected, the earlier of two equally near; a frame nearest to several
    is selected once. A last frame that stays on for longer than frames do is selected for every
    grid time up to its end. `fps=None` selects every frame.
    """

    def __init__(self, fps: float | None) -> None:
        self._fps = fps
        self._first: float | None = None
        self._k = 0
        self._shortest_s = math.inf

    def selects(self, pts: float, following: float | None, shown_s: float = 0.0) -> bool:
        """Whether the frame at `pts` is selected, given the next frame's time (None at the end,
        where `shown_s` says how long the frame is shown).

        Call once for each frame, in order.
        """
        if self._fps is None:
            return True
        if self._first is None:
            self._first = pts
        if following is not None:
            self._shortest_s = min(self._shortest_s, following - pts)
            border = (pts + following) / 2
        elif shown_s > _HELD * self._shortest_s:
            border = pts + shown_s - _TIE_S  # its end is no longer the video's
        else:
            border = pts
        if self._first + self._k / self._fps > border + _TIE_S / 2:
            return False
        self._k = math.floor((border + _TIE_S / 2 - self._first) * self._fps) + 1
        return True
