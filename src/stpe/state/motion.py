"""How the camera turns and goes: as the video shows it, and as a log tells it.

Both are kept as curves of accumulated angle or distance, so that what a log says of any interval of
the video, at any lag, is a difference of two readings.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stpe.geometry.intrinsics import ASSUMED_FOV_DEG
from stpe.geometry.rotation import vector_of
from stpe.state.log import Row
from stpe.state.nested import leaves
from stpe.state.path import places_in
from stpe.state.travel import by_angle, by_looks

F64 = NDArray[np.float64]

#: Length of an interval of `VideoMotion`, about.
SPAN_S = 0.1
#: What the fastest tenth of each kind of motion must reach: degrees a second, shares a second.
LEAST_RATE = {"yaw": 2.0, "pitch": 2.0, "ahead": 0.15}
#: Last part of a name, and groups it may stand in, of angles that turn with the picture.
_ANGLES = {
    "yaw": (
        "yaw",
        "yaw_deg",
        "angle_deg",
        "angle",
        "heading",
        "heading_deg",
        "azimuth",
        "yaw_rad",
        "angle_rad",
        "heading_rad",
    ),
    "pitch": ("pitch", "pitch_deg", "elevation", "pitch_rad"),
}
_GROUPS = ("", "camera", "view", "player", "state", "observation")
#: Poses and vectors, from which both angles are read.
_POSES = ("camera_to_world", "camera.camera_to_world", "camera.pose", "pose")
_LOOKS = ("camera.look_vector", "camera.cframe.look_vector", "camera.forward")
_FROM_SUBJECT = "camera.relative_to_hrp"
#: Places of a figure, which the camera may or may not follow.
_FIGURES = ("hrp.", "position")
_MOUSE = ("mouse_delta", "inputs.mouse_delta", "mouse.delta")


@dataclass(frozen=True)
class VideoMotion:
    """How the view was seen to turn, an interval a row; unknown intervals are left out.

    Intervals may overlap. Angles are in degrees if the field of view is as assumed; alignment
    does not depend on that.

    Attributes:
        starts_N, ends_N: seconds of the video.
        yaw_N, pitch_N: degrees turned in the interval, right and up positive.
        growth_N: by what share the picture grew in the interval, as it does on the way ahead; NaN
            where that was not measured.
    """

    starts_N: F64
    ends_N: F64
    yaw_N: F64
    pitch_N: F64
    growth_N: F64

    def of_axis(self, axis: str) -> F64:
        """What was seen of an axis of `Curve`."""
        return {"yaw": self.yaw_N, "pitch": self.pitch_N, "ahead": self.growth_N}[axis]

    @classmethod
    def of(cls, transitions: pa.Table) -> VideoMotion:
        """From `transitions` rows with pts, view_shift and, where it is there, view_growth.

        Values of single frames are summed over intervals of about SPAN_S that begin at each frame,
        so that the jitter of a log's times weighs little.
        """
        times = transitions["pts"].to_numpy().astype(np.float64)
        shifts = [[math.nan] * 2 if v is None else v for v in transitions["view_shift"].to_pylist()]
        shift_N2 = np.array(shifts, np.float64).reshape(-1, 2)
        if "view_growth" in transitions.column_names:
            grown = transitions["view_growth"].to_pylist()
        else:
            grown = [None] * len(times)
        growth_N = np.array([math.nan if v is None else v for v in grown], np.float64)
        # The picture moves left when the view turns right, and down when it turns up.
        turned_N2 = shift_N2 * [-ASSUMED_FOV_DEG, ASSUMED_FOV_DEG]
        steps = np.diff(times)
        frames = max(1, round(SPAN_S / float(np.median(steps)))) if len(steps) else 1
        if len(times) <= frames:
            return cls(*np.zeros((5, 0)))
        seen_N3 = np.column_stack([turned_N2, growth_N])
        total = np.vstack([np.zeros((1, 3)), np.cumsum(np.nan_to_num(seen_N3[1:]), axis=0)])
        unknown = np.append(0, np.cumsum(np.isnan(turned_N2[1:]).any(axis=1)))
        starts, ends = times[:-frames], times[frames:]
        span = total[frames:] - total[:-frames]
        known = (unknown[frames:] == unknown[:-frames]) & (ends - starts < 3 * SPAN_S)
        grew = span[known, 2] if np.isfinite(growth_N).any() else np.full(known.sum(), math.nan)
        return cls(starts[known], ends[known], span[known, 0], span[known, 1], grew)


@dataclass(frozen=True)
class Curve:
    """An accumulated angle or distance over time.

    Attributes:
        axis: yaw, pitch, ahead or aside. name: the field of the log. view: whether it is the
            camera's own, which must go with the picture, rather than an input or a figure's, which
            may not.
        times_N: ascending seconds. values_N: accumulated, in a unit of its own.
    """

    axis: str
    name: str
    view: bool
    times_N: F64
    values_N: F64


def curves(rows: Sequence[Row], times: Sequence[float]) -> list[Curve]:
    """Everything in a log that tells how the view turns, the most direct first.

    Args:
        rows: in time order.
        times: seconds of each row on the axis wanted.
    """
    flat = [dict(leaves(row.state)) for row in rows]
    clock = np.asarray(times, np.float64)
    found: list[Curve] = []
    for name in _POSES:
        found += _both(name, True, clock, flat, _turned)
    for name in _LOOKS:
        found += _both(name, True, clock, flat, _pointing)
    if not found:
        found += _both(_FROM_SUBJECT, True, clock, flat, lambda v: _pointing(-v))
    for axis in _ANGLES:
        for name in _names(axis):
            kept, values = _column(name, flat, 1)
            if len(kept) >= 2:
                found.append(Curve(axis, name, True, clock[kept], _unwrapped(values[:, 0])))
                break
    for name in _MOUSE:
        found += _both(name, False, clock, flat, lambda v: np.cumsum(v[:, :2], axis=0))
    found += _travelled(clock, flat)
    return [curve for curve in map(_ascending, found) if np.ptp(curve.values_N) > 0]


def _travelled(clock: F64, flat: Sequence[dict[str, Any]]) -> list[Curve]:
    """The way ahead and aside, by the first place and the first direction that the log has."""
    there = places_in(flat)
    if there is None:
        return []
    name, place_N3 = there
    kept, way_N2 = _way(flat, place_N3)
    if way_N2 is None:
        return []
    view = not name.startswith(_FIGURES)
    return [
        Curve(axis, name, view, clock[kept], way_N2[:, at])
        for at, axis in enumerate(("ahead", "aside"))
    ]


def _way(flat: Sequence[dict[str, Any]], place_N3: F64) -> tuple[NDArray[np.int64], F64 | None]:
    """Rows with a place and a direction, and the way ahead and aside, accumulated."""
    good = np.flatnonzero(np.isfinite(place_N3).all(axis=1))
    for name, width in ((_POSES, 16), (_LOOKS, 3), ((_FROM_SUBJECT,), 3)):
        for field in name:
            kept, values = _column(field, flat, width)
            kept, mine, _ = np.intersect1d(kept, good, return_indices=True)
            if len(kept) >= 2:
                look_N3 = (
                    values[mine].reshape(len(kept), 4, 4)[:, :3, 2] if width == 16 else values[mine]
                )
                look_N3 = -look_N3 if field == _FROM_SUBJECT else look_N3
                look_N3 = look_N3 / np.maximum(np.linalg.norm(look_N3, axis=1, keepdims=True), 1e-9)
                return kept, by_looks(place_N3[kept], look_N3)
    for field in _names("yaw"):
        kept, values = _column(field, flat, 1)
        kept, mine, _ = np.intersect1d(kept, good, return_indices=True)
        if len(kept) >= 2:
            angle_N = values[mine, 0]
            angle_N = np.radians(angle_N) if _period(angle_N) == 360.0 else angle_N
            return kept, by_angle(place_N3[kept], angle_N)
    return good, None


def _names(axis: str) -> list[str]:
    return [f"{group}.{last}".lstrip(".") for group in _GROUPS for last in _ANGLES[axis]]


def _both(
    name: str, view: bool, clock: F64, flat: Sequence[dict[str, Any]], read: Callable[[F64], F64]
) -> list[Curve]:
    kept, values = _column(name, flat, None)
    if len(kept) < 2:
        return []
    try:
        angles_N2 = read(values)
    except (ValueError, IndexError):
        return []
    return [
        Curve(axis, name, view, clock[kept], angles_N2[:, at])
        for at, axis in enumerate(("yaw", "pitch"))
    ]


def _column(
    name: str, flat: Sequence[dict[str, Any]], width: int | None
) -> tuple[NDArray[np.int64], F64]:
    """Rows where the field is numbers of one width, and those numbers, N x width."""
    kept: list[int] = []
    values: list[list[float]] = []
    for at, state in enumerate(flat):
        value = state.get(name)
        items = value if isinstance(value, list) else [value]
        numbers = [v for v in items if isinstance(v, int | float) and math.isfinite(v)]
        if len(numbers) != len(items) or (values and len(numbers) != len(values[0])):
            continue
        if width is None or len(numbers) == width:
            kept.append(at)
            values.append([float(v) for v in numbers])
    return np.array(kept, np.int64), np.array(values, np.float64)


def _unwrapped(angles_N: F64) -> F64:
    """Without jumps of a full turn; values past 2 pi are degrees."""
    return np.unwrap(angles_N, period=_period(angles_N))


def _period(angles_N: F64) -> float:
    return 360.0 if np.abs(angles_N).max() > 2 * np.pi + 0.01 else 2 * np.pi


def _turned(poses: F64) -> F64:
    """Accumulated yaw and pitch of camera-to-world poses, in each camera's own frame."""
    matrices = poses.reshape(len(poses), 4, 4)[:, :3, :3]
    steps = [vector_of(a.T @ b) for a, b in itertools.pairwise(matrices)]
    turned = np.array(steps).reshape(-1, 3)[:, [1, 0]]
    return np.vstack([np.zeros((1, 2)), np.cumsum(turned, axis=0)])


def _pointing(looks_N3: F64) -> F64:
    """Yaw and pitch of view directions in a world whose y is up."""
    x, y, z = looks_N3[:, 0], looks_N3[:, 1], looks_N3[:, 2]
    return np.stack([np.unwrap(np.arctan2(x, z)), np.arctan2(y, np.hypot(x, z))], axis=1)


def _ascending(curve: Curve) -> Curve:
    """One value a moment: of rows with the same time the last."""
    later = np.append(np.diff(curve.times_N) > 0, True)
    return Curve(curve.axis, curve.name, curve.view, curve.times_N[later], curve.values_N[later])


def moves(axis: str, seen_N: F64, spans_N: F64) -> bool:
    """Whether a series is known and more than noise about standing still."""
    rate = np.abs(seen_N) / spans_N
    return bool(np.isfinite(rate).all()) and float(np.percentile(rate, 90)) > LEAST_RATE[axis]


def lasts_s(starts_N: F64) -> float:
    """About how long a series of intervals is that begin regularly, gaps left out."""
    return len(starts_N) * float(np.median(np.diff(starts_N))) if len(starts_N) > 1 else 0.0
