"""What the user knows of the camera: intrinsics, poses, depth, as one JSON document.

    {"fx": 525, "fy": 525, "cx": 320, "cy": 240,          in pixels of the stored frame, or with
     "normalised": true,                                  as shares of its width and height
     "poses": [{"frame_index": 0, "camera_to_world": [16 numbers]},
               {"pts": 0.5, "camera_to_world": [...]}],   all by frame_index or all by pts
     "clock": "pts", "began": 0,                          what their times are: see `Poses`
     "read_as": [...],                                    what a reader took a file for
     "unit": "metres",                                    of poses and depth
     "depth": {"folder": ..., "scale": 0.001, "files": {"0": "0.png"}, "sha256": ...}}

Every part is optional. `stpe.state.camera_file` writes it from files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stpe.errors import UsageError
from stpe.geometry.rotation import matrix_of, nearest_rotation, vector_of

F64 = NDArray[np.float64]

#: Poses further apart than this say nothing of what lies between.
_FAR_S, _FAR_FRAMES = 0.5, 15
_NAMES = ("fx", "fy", "cx", "cy")
_UNIT = "units of --camera"
_CLOCKS = ("pts", "unix", "relative")


@dataclass(frozen=True)
class Poses:
    """Camera-to-world poses along a video.

    Attributes:
        by: what places are, `frame_index` or `pts` (seconds).
        clock: of seconds: `pts` as the video's frames have them, `unix`, or `relative` to some
            moment; `stpe.geometry.pose_times` puts them onto a video's clock.
        began: what that clock showed where places are 0.
        places_N: ascending. poses_N44: the pose at each.
        unit: of lengths.
    """

    by: str
    places_N: F64
    poses_N44: F64
    unit: str
    clock: str = "pts"
    began: float = 0.0

    def at(self, frame_index: int, pts: float) -> F64 | None:
        """The pose at a frame, between its neighbours if need be; None where none is near."""
        place = float(frame_index) if self.by == "frame_index" else pts
        far, near = (_FAR_FRAMES, 1e-6) if self.by == "frame_index" else (_FAR_S, 2e-3)
        right = int(np.searchsorted(self.places_N, place))
        for at in (right - 1, right):
            if 0 <= at < len(self.places_N) and abs(self.places_N[at] - place) <= near:
                return np.asarray(self.poses_N44[at])
        if not 0 < right < len(self.places_N):
            return None
        left = right - 1
        gap = self.places_N[right] - self.places_N[left]
        if gap > far:
            return None
        return _between(
            self.poses_N44[left], self.poses_N44[right], (place - self.places_N[left]) / gap
        )

    def step(self, earlier: tuple[int, float], later: tuple[int, float]) -> F64 | None:
        """The later camera's pose in the earlier camera's frame, of two (frame_index, pts)."""
        first, second = self.at(*earlier), self.at(*later)
        if first is None or second is None:
            return None
        return np.asarray(np.linalg.inv(first) @ second)


@dataclass(frozen=True)
class SuppliedDepth:
    """Depth images: `folder`, file by frame index, `scale` from their numbers to `unit`."""

    folder: str
    scale: float
    unit: str
    files: Mapping[int, str]


@dataclass(frozen=True)
class Supplied:
    """A document as values; None for what it does not say. `numbers` are fx, fy, cx, cy."""

    numbers: tuple[float, float, float, float] | None = None
    normalised: bool = False
    poses: Poses | None = None
    depth: SuppliedDepth | None = None
    read_as: tuple[str, ...] = ()


@lru_cache(maxsize=8)
def supplied(document: str) -> Supplied:
    """Read a document; an empty one says nothing.

    Raises:
        UsageError: it is not as above; the message says where.
    """
    if not document.strip():
        return Supplied()
    try:
        given = json.loads(document)
    except ValueError as error:
        raise UsageError("--camera wants JSON with the numbers fx, fy, cx, cy in pixels") from error
    known = {*_NAMES, "normalised", "poses", "unit", "depth", "clock", "began", "read_as"}
    if not isinstance(given, dict) or not set(given) <= known:
        extra = sorted(set(given) - known) if isinstance(given, dict) else []
        said = f"--camera has unknown entries: {', '.join(extra)}" if extra else "--camera"
        raise UsageError(f"{said}; it wants an object of {', '.join(sorted(known))}")
    if not given.keys() & {"fx", "poses", "depth"}:
        raise UsageError("--camera wants JSON with the numbers fx, fy, cx, cy in pixels")
    unit = given.get("unit", _UNIT)
    return Supplied(
        _numbers(given) if given.keys() & set(_NAMES) else None,
        bool(given.get("normalised", False)),
        _poses(given, unit) if "poses" in given else None,
        _depth(given["depth"], unit) if "depth" in given else None,
        tuple(map(str, given.get("read_as", ()))),
    )


def _numbers(given: dict[str, Any]) -> tuple[float, float, float, float]:
    try:
        fx, fy, cx, cy = (float(given[name]) for name in _NAMES)
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError("--camera wants JSON with the numbers fx, fy, cx, cy in pixels") from error
    if not all(map(math.isfinite, (fx, fy, cx, cy))) or min(fx, fy) <= 0:
        raise UsageError("--camera: fx and fy must be positive, and all four numbers finite")
    return fx, fy, cx, cy


def _poses(document: dict[str, Any], unit: str) -> Poses:
    given, clock = document["poses"], document.get("clock", "pts")
    began = document.get("began", 0.0)
    if clock not in _CLOCKS or not isinstance(began, int | float) or not math.isfinite(began):
        raise UsageError(f"--camera: clock is one of {', '.join(_CLOCKS)}, and began is in seconds")
    if not isinstance(given, list) or not given or not all(isinstance(p, dict) for p in given):
        raise UsageError("--camera: poses is a list of {frame_index or pts, camera_to_world}")
    by = "frame_index" if "frame_index" in given[0] else "pts"
    places, poses = [], []
    for number, entry in enumerate(given):
        try:
            place = float(entry[by])
            pose = np.array(entry["camera_to_world"], np.float64).reshape(4, 4)
        except (KeyError, ValueError, TypeError) as error:
            raise UsageError(
                f"--camera: pose {number} wants {by} and camera_to_world of 16 numbers"
            ) from error
        turn = pose[:3, :3]
        if not (np.isfinite(pose).all() and math.isfinite(place)):
            raise UsageError(f"--camera: pose {number} is not finite")
        if np.abs(turn @ turn.T - np.eye(3)).max() > 0.02 or np.linalg.det(turn) < 0:
            raise UsageError(f"--camera: pose {number} holds no rotation in its first three rows")
        places.append(place)
        poses.append(pose)
    order = np.argsort(places, kind="stable")
    sorted_places = np.array(places)[order]
    if (np.diff(sorted_places) <= 0).any():
        raise UsageError(f"--camera: two poses have the same {by}")
    return Poses(by, sorted_places, np.array(poses)[order], unit, clock, began)


def _depth(given: Any, unit: str) -> SuppliedDepth:
    try:
        files = {int(k): str(v) for k, v in given["files"].items()}
        found = SuppliedDepth(str(given["folder"]), float(given["scale"]), unit, files)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise UsageError("--camera: depth wants a folder of PNG images and their scale") from error
    if not files or not found.scale > 0 or not math.isfinite(found.scale):
        raise UsageError("--camera: depth wants at least one image and a positive scale")
    return found


def _between(first_44: F64, second_44: F64, share: float) -> F64:
    pose = np.eye(4)
    start = nearest_rotation(first_44[:3, :3])
    turn = vector_of(start.T @ nearest_rotation(second_44[:3, :3]))
    pose[:3, :3] = start @ matrix_of(share * turn)
    pose[:3, 3] = (1 - share) * first_44[:3, 3] + share * second_44[:3, 3]
    return pose
