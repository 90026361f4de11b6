"""Velocities of objects, in the picture and in the world.

The true image velocity is the mean over 0.2 s of the projected centre, or of the box where no
place in the world is known; a point that stood still at the same place gives the camera's part.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from stpe.evaluate.matching import need_objects, scenes
from stpe.evaluate.measure import Measure, NotScoredError, Series
from stpe.evaluate.truth import Truth, TruthObject
from stpe.evaluate.view import View

F64 = NDArray[np.float64]
Path = Mapping[int, TruthObject]

_HALF_S = 0.1


def score(view: View, truth: Truth) -> list[Measure]:
    """Error of image velocity and of its part that is the object's own."""
    need_objects(truth)
    if not truth.instances:
        raise NotScoredError("the truth is one foreground: its middle has no velocity of its own")
    view.need("objects", "velocity_px_s")
    paths: dict[int, dict[int, TruthObject]] = defaultdict(dict)
    for index, objects in (truth.objects or {}).items():
        for item in objects:
            paths[item.identity][index] = item
    fps = float(view.video["fps"] or 1.0)
    reach = max(1, round(_HALF_S * fps))
    frames, rows = [], []
    own_frames, own_rows = [], []
    for scene in scenes(view, truth):
        for true, row, _ in scene.pairs():
            if row["velocity_px_s"] is None:
                continue
            real = _true(truth, paths[true.identity], scene.frame, reach, fps)
            if real is None:
                continue
            whole, camera = real
            found = np.array(row["velocity_px_s"], np.float64)
            frames.append(scene.frame)
            rows.append([np.linalg.norm(found - whole), np.linalg.norm(whole)])
            if camera is not None and row["object_velocity_px_s"] is not None:
                own = np.array(row["object_velocity_px_s"], np.float64)
                own_frames.append(scene.frame)
                errors = [np.linalg.norm(v - (whole - camera)) for v in (own, found)]
                own_rows.append(errors)
    if not frames:
        raise NotScoredError("no object with a known velocity was found")
    measures = [
        _measure(view, "objects.velocity_px_s", frames, np.array(rows), "no motion"),
    ]
    if own_frames:
        measures.append(
            _measure(
                view,
                "objects.object_velocity_px_s",
                own_frames,
                np.array(own_rows),
                "velocity without compensation",
            )
        )
    return measures


def _measure(view: View, signal: str, frames: list[int], rows_N2: F64, baseline: str) -> Measure:
    index = np.unique(frames)
    errors = [np.median(rows_N2[np.array(frames) == i, 0]) for i in index]
    return Measure(
        signal,
        "velocity error, median",
        "px/s",
        "lower",
        len(frames),
        "objects",
        view.blocks.median(frames, rows_N2[:, 0]),
        baseline=view.blocks.median(frames, rows_N2[:, 1]),
        baseline_name=baseline,
        series=Series(index, np.array(errors), "px/s"),
    )


def _true(
    truth: Truth, path: Path, frame: int, reach: int, fps: float
) -> tuple[F64, F64 | None] | None:
    """(image velocity, the camera's part) in px/s; None where the object is not seen for long."""
    first = last = frame
    while first - 1 in path and frame - first < reach:
        first -= 1
    while last + 1 in path and last - frame < reach:
        last += 1
    if last == first:
        return None
    seconds = (last - first) / fps
    places = [_seen(truth, i, path[i].position) for i in (first, last)]
    fixed = [_seen(truth, i, path[frame].position) for i in (first, last)]
    if places[0] is not None and places[1] is not None:
        if fixed[0] is None or fixed[1] is None:
            return None
        return (places[1] - places[0]) / seconds, (fixed[1] - fixed[0]) / seconds
    boxes = np.array([path[i].box_xyxy for i in (first, last)], np.float64)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.asarray((centres[1] - centres[0]) / seconds), None


def _seen(truth: Truth, frame: int, place: tuple[float, float, float] | None) -> F64 | None:
    """Pixel of a place in the world; None behind the camera, or where either is not known."""
    there = truth.frames.get(frame)
    if place is None or there is None:
        return None
    pose, camera = there.camera_to_world_44, there.intrinsics
    if pose is None or camera is None:
        return None
    x, y, z = pose[:3, :3].T @ (np.array(place) - pose[:3, 3])
    return (
        np.array([camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy]) if z > 0 else None
    )
