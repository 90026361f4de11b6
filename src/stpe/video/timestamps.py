"""Presentation times that strictly increase, from times that may be missing or wrong."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


#: How warnings begin that say that frames' times are not the container's, or pictures damaged.
_UNSOUND = (
    "frames without a presentation time",
    "frames with a presentation time out of order",
    "restarts of the presentation clock",
    "damaged packets",
    "frames that show damage",
)


def times_are_sound(warnings: Iterable[str]) -> bool:
    """Whether a frame of a video file is found by its time, by the warnings about the file: its
    times are the container's and no picture is damaged, whatever else is missing or remarkable."""
    return not any(warning.startswith(_UNSOUND) for warning in warnings)


class DecodeTimes:
    """Times for frames of containers that store decode times only (AVI).

    Frames leave the decoder in presentation order, so the n-th frame takes the n-th smallest decode
    time, moved by what the last frame with a presentation time of its own was off.
    """

    def __init__(self) -> None:
        self._waiting: list[int] = []
        self._shift = 0

    def fed(self, dts: int | None) -> None:
        """A packet goes into the decoder."""
        if dts is not None:
            heapq.heappush(self._waiting, dts)

    def lost(self) -> None:
        """A packet was damaged and gives no frame."""
        if self._waiting:
            self._waiting.remove(max(self._waiting))
            heapq.heapify(self._waiting)

    def stamp(self, pts: int | None) -> int | None:
        """The time of the next frame, given its own presentation time, if any."""
        dts = heapq.heappop(self._waiting) if self._waiting else None
        if pts is None:
            return None if dts is None else dts + self._shift
        if dts is not None:
            self._shift = pts - dts
        return pts


#: A time that falls back this far, and does not recover with the next frame, restarts the clock
#: (a recorder that was restarted, two recordings joined); a smaller one is a wrong stamp.
RESTART_S = 1.0


def repaired(
    stamped: Iterable[tuple[float | None, T]], step_s: float, warnings: list[str]
) -> Iterator[tuple[float, T]]:
    """Yield every item with a time greater than the one before. Sound times pass unchanged.

    A missing time becomes the last time plus `step_s`, or half way to the next time where that is
    sooner. So does a time that does not increase, unless the clock restarted: then all later times
    are shifted to follow on. A time that leaps ahead of both its neighbours by more than a second
    counts as missing. Looks one item ahead. What was done is added to `warnings` at the end.

    >>> said = []
    >>> [t for t, _ in repaired([(0.0, 0), (None, 1), (0.2, 2), (0.1, 3), (0.3, 4)], 0.1, said)]
    [0.0, 0.1, 0.2, 0.25, 0.3]
    """
    missing = wrong = restarts = 0
    last: float | None = None
    offset = 0.0
    try:
        for (raw, item), following in _with_next(stamped):
            if raw is not None and last is not None and raw > last:
                offset = 0.0  # the clock is back where it was: it never restarted
            now = None if raw is None else raw + offset
            then = None if following is None or following[0] is None else following[0] + offset
            if last is None:
                if now is None:
                    missing += 1
                    now = 0.0 if then is None else min(0.0, then - step_s)
            elif now is None:
                missing += 1
                now = _between(last, then, step_s)
            elif now <= last:
                if now < last - RESTART_S and (then is None or then <= last):
                    restarts += 1
                    offset += last + step_s - now
                    now = last + step_s
                else:
                    wrong += 1
                    now = _between(last, then, step_s)
            elif then is not None and last < then <= now and now - last > RESTART_S + step_s:
                wrong += 1
                now = _between(last, then, step_s)
            last = now
            yield now, item
    finally:
        if missing:
            warnings.append(
                f"frames without a presentation time, filled in from the rate: {missing}"
            )
        if wrong:
            warnings.append(f"frames with a presentation time out of order, repaired: {wrong}")
        if restarts:
            warnings.append(
                f"restarts of the presentation clock, later times shifted on: {restarts}"
            )


def _between(last: float, then: float | None, step_s: float) -> float:
    if then is None or then <= last:
        return last + step_s
    return min(last + step_s, (last + then) / 2)


def _with_next(items: Iterable[T]) -> Iterator[tuple[T, T | None]]:
    iterator = iter(items)
    try:
        item = next(iterator)
    except StopIteration:
        return
    for following in iterator:
        yield item, following
        item = following
    yield item, None
