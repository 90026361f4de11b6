"""Events of tracked objects: presence, starting and stopping, acceleration, collision.

Hysteresis throughout: a state counts once two observations in a row hold it, observations that
say nothing are skipped, and nothing is concluded across a cut or a gap longer than GAP_S.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stpe.narrate.words import article, direction, number, place, sentence

F64 = NDArray[np.float64]

GAP_S = 3.0
SEEN_AT_LEAST = 3
EDGE = 0.02


@dataclass(frozen=True)
class Event:
    """One row of `events` before it is numbered."""

    kind: str
    pts: float
    frame_index: int
    description: str
    confidence: float
    evidence: dict[str, Any]
    track_ids: tuple[int, ...] = ()
    end_pts: float | None = None


@dataclass(frozen=True)
class Track:
    """Observations of one identity, in time order. Unknown velocities are NaN.

    Attributes:
        times_N, frames_N: pts in seconds and decoder frame indices.
        boxes_N4: xyxy pixels. velocity_N2: camera-compensated, px/s. std_N: its deviation.
        motion: moving, static, unknown or None. motion_confidence_N: NaN where unknown.
        depth_N: NaN where unknown. shots_N: shot of each observation.
    """

    track_id: int
    label: str
    confidence: float
    times_N: F64
    frames_N: NDArray[np.int64]
    boxes_N4: F64
    velocity_N2: F64
    std_N: F64
    motion: Sequence[str | None]
    motion_confidence_N: F64
    depth_N: F64
    shots_N: NDArray[np.int64]

    @property
    def name(self) -> str:
        """How sentences call it."""
        return f"{self.label} #{self.track_id}"

    def size(self, i: int) -> float:
        """Square root of the box area of one observation, pixels."""
        x0, y0, x1, y1 = self.boxes_N4[i]
        return math.sqrt(max((x1 - x0) * (y1 - y0), 1.0))

    def speed(self, i: int) -> float:
        """Length of the velocity, px/s."""
        return float(np.hypot(*self.velocity_N2[i]))

    def joined(self, i: int, j: int) -> bool:
        """Whether conclusions may reach from one observation to the other."""
        near = self.times_N[j] - self.times_N[i] <= GAP_S * max(1, j - i)
        return bool(near and self.shots_N[i] == self.shots_N[j])


@dataclass(frozen=True)
class Clock:
    """The analysis frames of the video: indices, times and shots, and the frame size."""

    frames_N: NDArray[np.int64]
    times_N: F64
    shots_N: NDArray[np.int64]
    size: tuple[int, int]
    position: dict[int, int] = field(default_factory=dict)

    def at(self, frame_index: int) -> int:
        """Position of a frame among the analysis frames."""
        if not self.position:
            self.position.update({int(f): i for i, f in enumerate(self.frames_N)})
        return self.position[frame_index]


def presence(track: Track, clock: Clock) -> list[Event]:
    """Appears and disappears inside a shot; not at its borders, where everything does."""
    count = len(track.times_N)
    if count < SEEN_AT_LEAST:
        return []
    confidence = track.confidence * (1 - 0.5 ** (count - 1))
    found = []
    first, last = clock.at(int(track.frames_N[0])), clock.at(int(track.frames_N[-1]))
    if first > 0 and clock.shots_N[first - 1] == clock.shots_N[first]:
        where, at_edge = _where(track.boxes_N4[0], clock.size)
        text = f"{article(track.label)} (#{track.track_id}) " + (
            f"comes in from {where}" if at_edge else f"appears {where}"
        )
        found.append(_present("appears", track, clock, first, text, confidence, 0))
    end = last + 1
    if end < len(clock.times_N) and clock.shots_N[end] == clock.shots_N[last]:
        where, at_edge = _where(track.boxes_N4[-1], clock.size)
        text = f"{track.name} " + (
            f"leaves by {where}" if at_edge else f"is no longer seen; it was last {where}"
        )
        found.append(_present("disappears", track, clock, end, text, confidence, -1))
    return found


def _present(
    kind: str, track: Track, clock: Clock, at: int, text: str, confidence: float, row: int
) -> Event:
    evidence = {
        "observations": len(track.times_N),
        "box_xyxy": [round(float(x), 1) for x in track.boxes_N4[row]],
        "frame_index": int(track.frames_N[row]),
    }
    return Event(
        kind,
        float(clock.times_N[at]),
        int(clock.frames_N[at]),
        sentence(text),
        confidence,
        evidence,
        (track.track_id,),
    )


def _where(box: F64, size: tuple[int, int]) -> tuple[str, bool]:
    width, height = size
    reach = EDGE * max(width, height)
    sides = {
        "the left edge": box[0],
        "the right edge": width - box[2],
        "the top edge": box[1],
        "the bottom edge": height - box[3],
    }
    side, distance = min(sides.items(), key=lambda item: float(item[1]))
    if distance <= reach:
        return side, True
    return place(box.tolist(), width, height), False


def motion_changes(track: Track) -> list[Event]:
    """Starts and stops, from two agreeing observations on either side."""
    known = [i for i, word in enumerate(track.motion) if word in ("moving", "static")]
    runs: list[list[int]] = []
    for i in known:
        same = runs and track.motion[runs[-1][-1]] == track.motion[i]
        if same and track.joined(runs[-1][-1], i):
            runs[-1].append(i)
        else:
            runs.append([i])
    stable = [run for run in runs if len(run) >= 2]
    found = []
    for before, after in pairwise(stable):
        last, now = before[-1], after[0]
        if track.motion[last] == track.motion[now] or not track.joined(last, now):
            continue
        starts = track.motion[now] == "moving"
        speeds = [track.speed(i) for i in (last, now)]
        text = f"{track.name} " + ("starts moving" if starts else "stops")
        shown = now if starts else last
        if math.isfinite(track.speed(shown)):
            way = direction(*track.velocity_N2[shown])
            pace = f"{number(track.speed(shown), 2)} px/s"
            text += f" {way} at {pace}" if starts else f" after moving {way} at {pace}"
        around = [before[-2], last, now, after[1]]
        trust = float(np.nanmean([_or(track.motion_confidence_N[i], 0.5) for i in around]))
        evidence = {
            "speed_before_px_s": _finite(speeds[0]),
            "speed_after_px_s": _finite(speeds[1]),
            "observations_before": len(before),
            "observations_after": len(after),
        }
        kind = "starts" if starts else "stops"
        found.append(_event(kind, track, now, text, trust, evidence))
    return found


def accelerations(track: Track, starts: Sequence[Event]) -> list[Event]:
    """Speed at least doubles between two moving observations and the next two, above noise."""
    moving = [
        i
        for i, word in enumerate(track.motion)
        if word == "moving" and math.isfinite(track.speed(i))
    ]
    found: list[Event] = []
    for a, b, c, d in zip(moving, moving[1:], moving[2:], moving[3:], strict=False):
        if not track.joined(a, d) or track.times_N[d] - track.times_N[a] > GAP_S:
            continue
        before = max(track.speed(a), track.speed(b))
        after = min(track.speed(c), track.speed(d))
        noise = float(np.mean([_or(track.std_N[i], 0.1 * track.size(i)) for i in (a, b, c, d)]))
        now = float(track.times_N[c])
        recent = [e.pts for e in (*starts, *found) if e.kind in ("starts", "accelerates")]
        if after < 2 * before or after - before < max(3 * noise, 0.5 * track.size(c)):
            continue
        if any(0 <= now - then < 2.0 for then in recent):
            continue
        text = f"{track.name} accelerates from {number(before, 2)} to {number(after, 2)} px/s"
        evidence = {
            "speed_before_px_s": _finite(before),
            "speed_after_px_s": _finite(after),
            "noise_px_s": _finite(noise),
        }
        trust = min(1.0, (after - before) / (6 * noise)) if noise > 0 else 0.5
        found.append(_event("accelerates", track, c, text, trust, evidence))
    return found


def collision(a: Track, b: Track, time: float, closing_px_s: float) -> Event | None:
    """Whether `a`, closing in on `b` at `time`, touches it and loses that speed within a second.

    In the picture alone, passing in front looks alike; so confidence stays low unless depths agree.
    """
    shared, in_a, in_b = np.intersect1d(a.frames_N, b.frames_N, return_indices=True)
    for k in range(len(shared)):
        i, j = int(in_a[k]), int(in_b[k])
        if not time < a.times_N[i] <= time + 6.0:
            continue
        box_a, box_b = a.boxes_N4[i], b.boxes_N4[j]
        gap = max(*(box_a[:2] - box_b[2:]), *(box_b[:2] - box_a[2:]))
        if gap > 0.05 * (a.size(i) + b.size(j)) / 2:
            continue
        after = [n for n in range(k, len(shared)) if a.times_N[in_a[n]] <= a.times_N[i] + 1.0]
        line = box_b[:2] + box_b[2:] - box_a[:2] - box_a[2:]
        length = float(np.hypot(*line))
        if length == 0:
            return None
        left = [
            float(np.dot(a.velocity_N2[in_a[n]] - b.velocity_N2[in_b[n]], line / length))
            for n in after
        ]
        left = [speed for speed in left if math.isfinite(speed)]
        if not left or min(left) > 0.5 * closing_px_s:
            return None
        trust, ratio = 0.4, a.depth_N[i] / b.depth_N[j]
        if math.isfinite(ratio):
            if not 1 / 1.3 < ratio < 1.3:
                return None
            trust = 0.7
        text = (
            f"{a.name} runs into {b.name}: they closed in at {number(closing_px_s, 2)} px/s "
            f"and then at {number(max(min(left), 0.0), 2)} px/s"
        )
        evidence = {
            "closing_before_px_s": _finite(closing_px_s),
            "closing_after_px_s": _finite(min(left)),
            "gap_px": _finite(float(gap)),
            "depth_ratio": _finite(float(ratio)),
        }
        return Event(
            "collides",
            float(a.times_N[i]),
            int(a.frames_N[i]),
            sentence(text),
            trust,
            evidence,
            tuple(sorted((a.track_id, b.track_id))),
        )
    return None


def _event(
    kind: str, track: Track, i: int, text: str, trust: float, evidence: dict[str, Any]
) -> Event:
    return Event(
        kind,
        float(track.times_N[i]),
        int(track.frames_N[i]),
        sentence(text),
        trust,
        evidence,
        (track.track_id,),
    )


def _or(value: float, other: float) -> float:
    return value if math.isfinite(value) else other


def _finite(value: float) -> float | None:
    return round(value, 2) if math.isfinite(value) else None
