"""Collisions: one thing closes in on another, touches it and is stopped there.

In the picture alone, passing before or behind another thing looks much alike. What tells a contact
is that the speed of the approach is gone from the touch on, that the one does not come out on the
other side, and, where depths are known, that both are equally far.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stpe.narrate.words import number, sentence
from stpe.stages.event_tracks import Event, Track, beyond_noise, finite

F64 = NDArray[np.float64]

_AHEAD_S = 6.0  # in which an approach must lead to a touch
_STOPPED_S, _PASSED_S = 1.0, 2.0  # looked at after the touch
_TOUCH = 0.05  # mean sizes between boxes that touch
_LOST = 0.5  # share of the speed of approach that a contact takes
_BEHIND = 0.5  # share of the smaller box inside the other from which it is before or behind it
_SAME_DEPTH = 1.3
#: Trust where depths agree, where the thing that was hit is moved by it, and where only the one
#: that hit is stopped.
_BY_DEPTH, _BY_PUSH, _BY_STOP = 0.7, 0.55, 0.4


def collision(a: Track, b: Track, time: float, closing_px_s: float) -> Event | None:
    """Whether `a`, closing in on `b` at `time`, touches it and is stopped by it."""
    _, in_a, in_b = np.intersect1d(a.frames_N, b.frames_N, return_indices=True)
    pairs = [(int(i), int(j)) for i, j in zip(in_a, in_b, strict=True)]
    touch = next(
        (
            n
            for n, (i, j) in enumerate(pairs)
            if time < a.times_N[i] <= time + _AHEAD_S and _gap(a, b, i, j) <= _TOUCH
        ),
        None,
    )
    if touch is None:
        return None
    i, j = pairs[touch]
    line = _middle(b, j) - _middle(a, i)
    length = float(np.hypot(*line))
    if length == 0:
        return None
    course = line / length
    now = float(a.times_N[i])
    later = [(m, n) for m, n in pairs[touch:] if a.times_N[m] <= now + _PASSED_S]
    if any(float((_middle(b, n) - _middle(a, m)) @ course) <= 0 for m, n in later):
        return None  # it has come out on the other side
    soon = [(m, n) for m, n in later if a.times_N[m] <= now + _STOPPED_S]
    left = [float((a.velocity_N2[m] - b.velocity_N2[n]) @ course) for m, n in soon]
    left = [speed for speed in left if math.isfinite(speed)]
    after = float(np.median(left)) if left else closing_px_s
    if after > (1 - _LOST) * closing_px_s:
        return None
    ratios = [float(a.depth_N[m] / b.depth_N[n]) for m, n in soon]
    ratios = [ratio for ratio in ratios if math.isfinite(ratio)]
    known = bool(ratios)
    ratio = float(np.median(ratios)) if known else math.nan
    if known and not 1 / _SAME_DEPTH < ratio < _SAME_DEPTH:
        return None
    if not known and max(_inside(a, b, m, n) for m, n in soon) > _BEHIND:
        return None
    pushed = _pushed(b, j, course, closing_px_s)
    trust = _BY_DEPTH if known else _BY_PUSH if pushed else _BY_STOP
    noise = math.hypot(a.noise(i), b.noise(j))
    text = (
        f"{a.name} runs into {b.name}: they closed in at {number(closing_px_s, 2)} px/s "
        f"and then at {number(max(after, 0.0), 2)} px/s"
    )
    evidence = {
        "closing_before_px_s": finite(closing_px_s),
        "closing_after_px_s": finite(after),
        "gap_px": finite(_gap(a, b, i, j) * (a.size(i) + b.size(j)) / 2),
        "depth_ratio": finite(ratio),
        "pushed": pushed,
    }
    return Event(
        "collides",
        now,
        int(a.frames_N[i]),
        sentence(text),
        trust * beyond_noise(closing_px_s - after, noise),
        evidence,
        tuple(sorted((a.track_id, b.track_id))),
    )


def _middle(track: Track, i: int) -> F64:
    return np.asarray((track.boxes_N4[i, :2] + track.boxes_N4[i, 2:]) / 2, np.float64)


def _gap(a: Track, b: Track, i: int, j: int) -> float:
    """Distance of two boxes along the axis that parts them most, in mean sizes."""
    box_a, box_b = a.boxes_N4[i], b.boxes_N4[j]
    gap = max(*(box_a[:2] - box_b[2:]), *(box_b[:2] - box_a[2:]))
    return float(gap) / ((a.size(i) + b.size(j)) / 2)


def _inside(a: Track, b: Track, i: int, j: int) -> float:
    """Share of the smaller box that lies in the other."""
    box_a, box_b = a.boxes_N4[i], b.boxes_N4[j]
    sides = np.minimum(box_a[2:], box_b[2:]) - np.maximum(box_a[:2], box_b[:2])
    shared = float(np.clip(sides, 0, None).prod())
    return shared / min(a.size(i), b.size(j)) ** 2


def _pushed(b: Track, j: int, course: F64, closing_px_s: float) -> bool:
    """Whether what was hit takes on a part of the speed, the way it was hit."""
    if not 0 < j < len(b.times_N) - 1:
        return False
    gained = float((b.velocity_N2[j + 1] - b.velocity_N2[j - 1]) @ course)
    return bool(gained > max(0.25 * closing_px_s, 3 * b.noise(j)))
