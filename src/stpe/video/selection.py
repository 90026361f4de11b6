"""Which frames a sampling grid wants, decided from presentation times alone."""

from __future__ import annotations

import math

#: Two frames whose distances to a grid time differ by less than this are equally near.
_TIE_S = 1e-6


class Selection:
    """Decides, one frame behind, which frames are nearest to the times of a regular grid.

    Grid times are `first + k / fps` from the first frame's time up to the last frame's. The frame
    nearest to a grid time is selected, the earlier of two equally near; a frame nearest to several
    is selected once. `fps=None` selects every frame.
    """

    def __init__(self, fps: float | None) -> None:
        self._fps = fps
        self._first: float | None = None
        self._k = 0

    def selects(self, pts: float, following: float | None) -> bool:
        """Whether the frame at `pts` is selected, given the next frame's time (None at the end).

        Call once for each frame, in order.
        """
        if self._fps is None:
            return True
        if self._first is None:
            self._first = pts
        border = pts if following is None else (pts + following) / 2
        if self._first + self._k / self._fps > border + _TIE_S / 2:
            return False
        self._k = math.floor((border + _TIE_S / 2 - self._first) * self._fps) + 1
        return True
