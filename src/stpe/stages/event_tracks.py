"""Events of tracked objects: presence, starting and stopping, acceleration.

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

    def noise(self, i: int) -> float:
        """Deviation of the speed, px/s: a tenth of the size where it is unknown."""
        return _or(float(self.std_N[i]), 0.1 * self.size(i))

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
        trust = _change_trust(track, (before[-2], last), (now, after[1]), starts)
        trust *= 1 - 0.5 ** min(len(before), len(after))  # a state that lasts is surer
        evidence = {
            "speed_before_px_s": finite(speeds[0]),
            "speed_after_px_s": finite(speeds[1]),
            "observations_before": len(before),
            "observations_after": len(after),
        }
        kind = "starts" if starts else "stops"
        found.append(_event(kind, track, now, text, trust, evidence))
    return found


def _change_trust(
    track: Track, before: tuple[int, int], after: tuple[int, int], starts: bool
) -> float:
    """How sure it is that the speed truly changed between two pairs of observations: that they tell
    motion from rest, and that the speeds differ by more than their noise."""
    around = (*before, *after)
    told = float(np.mean([_or(track.motion_confidence_N[i], 0.5) for i in around]))
    speeds = [float(np.mean([track.speed(i) for i in pair])) for pair in (before, after)]
    if not all(map(math.isfinite, speeds)):
        return 0.5 * told
    gained = speeds[1] - speeds[0] if starts else speeds[0] - speeds[1]
    noise = math.hypot(*(track.noise(i) for i in around)) / 2  # of a difference of two means
    return min(told, beyond_noise(gained, noise))


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
        noise = float(np.mean([track.noise(i) for i in (a, b, c, d)]))
        now = float(track.times_N[c])
        recent = [e.pts for e in (*starts, *found) if e.kind in ("starts", "accelerates")]
        if after < 2 * before or after - before < max(3 * noise, 0.5 * track.size(c)):
            continue
        if any(0 <= now - then < 2.0 for then in recent):
            continue
        text = f"{track.name} accelerates from {number(before, 2)} to {number(after, 2)} px/s"
        evidence = {
            "speed_before_px_s": finite(before),
            "speed_after_px_s": finite(after),
            "noise_px_s": finite(noise),
        }
        trust = 0.75 * beyond_noise(after - before, noise)  # two observations on either side
        found.append(_event("accelerates", track, c, text, trust, evidence))
    return found


def beyond_noise(difference: float, noise: float) -> float:
    """Probability, 0..1, that a difference of speeds is no accident of two measurements whose
    deviations come to `noise` together, both px/s; 0 for none or a negative one.

    >>> round(beyond_noise(4.0, 2.0), 3), beyond_noise(-1.0, 2.0)
    (0.954, 0.0)
    """
    return math.erf(max(difference, 0.0) / max(noise, 1e-6) / math.sqrt(2))


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


def finite(value: float) -> float | None:
    """A number for evidence, to two places; None where it is unknown."""
    return round(value, 2) if math.isfinite(value) else None
