"""Velocity and moving/static of objects whose engine tells only where they are.

A game moves its figures in steps of a few tics and calls them still in between, so velocity is the
mean over a window around each frame: what can be seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Place = Sequence[float]


@dataclass(frozen=True, slots=True)
class Still:
    """Speeds that decide: `moving` above one, static below the other, null in between."""

    static_below: float
    moving_above: float

    def judge(self, speed: float, fastest: float | None = None) -> bool | None:
        """Whether something at this speed moves; `fastest` is the speed of its fastest part.

        What stays where it is but moves a part is neither.

        >>> Still(0.1, 0.3).judge(0.2) is None
        True
        >>> Still(0.1, 0.3).judge(0.0, fastest=1.0) is None
        True
        """
        if speed > self.moving_above:
            return True
        return False if max(speed, fastest or 0.0) < self.static_below else None


@dataclass(slots=True)
class _Frame:
    episode: int
    places: Mapping[int, Place]
    rows: list[dict[str, Any]]
    rest: Any


class Window:
    """Frames go in as they come and come out `half` frames later, their objects measured.

    Args:
        half: frames before and after that velocity is the mean over.
        fps: frames a second.
        still: what counts as moving, in the places' unit a second.
    """

    def __init__(self, half: int, fps: float, still: Still) -> None:
        self._half, self._fps, self._still = half, fps, still
        self._frames: deque[_Frame] = deque(maxlen=2 * half + 1)
        self._done = 0  # leading frames of the window that went out

    def push(
        self, episode: int, places: Mapping[int, Place], rows: list[dict[str, Any]], rest: Any
    ) -> list[tuple[list[dict[str, Any]], Any]]:
        """Append a frame; (rows with `velocity` and `moving`, rest) of each that is now known.

        `places` holds every object of the world by `object_id`, `rows` those in view. Rows without
        a position keep null.
        """
        if len(self._frames) == self._frames.maxlen:
            self._done -= 1
        self._frames.append(_Frame(episode, places, rows, rest))
        return self._out(len(self._frames) - self._half)

    def flush(self) -> list[tuple[list[dict[str, Any]], Any]]:
        """The frames still inside."""
        return self._out(len(self._frames))

    def _out(self, end: int) -> list[tuple[list[dict[str, Any]], Any]]:
        out = []
        while self._done < end:
            frame = self._frames[self._done]
            for row in frame.rows:
                if row["position"] is not None:
                    row["velocity"] = self._velocity(row, frame.episode)
                    row["moving"] = self._still.judge(float(np.linalg.norm(row["velocity"])))
            out.append((frame.rows, frame.rest))
            self._done += 1
        return out

    def _velocity(self, row: dict[str, Any], episode: int) -> list[float]:
        identity = row["object_id"]

        def there(at: int) -> bool:
            inside = 0 <= at < len(self._frames) and abs(at - self._done) <= self._half
            frame = self._frames[at] if inside else None
            return bool(frame and frame.episode == episode and identity in frame.places)

        first = last = self._done
        while there(first - 1):
            first -= 1
        while there(last + 1):
            last += 1
        if first == last:
            return list(row["velocity"])
        path = [np.asarray(self._frames[at].places[identity], np.float64) for at in (first, last)]
        moved: list[float] = ((path[1] - path[0]) * self._fps / (last - first)).tolist()
        return moved
