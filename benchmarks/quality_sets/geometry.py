"""Triangulated depth and the camera's path against recorded ones.

Depth is scaled by one median a frame, as its unit is a trajectory's own; the path is moved, turned
and scaled onto the truth as a whole. Baselines: one depth for the whole frame; the same rotations
and directions with steps of equal length.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from quality_sets.camera import _realestate, _seven_scenes
from quality_sets.clip_motion import ALL, motion_of, small, source_of
from quality_sets.rows import means_row
from stpe.evaluate.trajectory import absolute_errors, align
from stpe.stages.frame_camera import FrameCamera
from stpe.stages.geometric_depth import GeometricDepth
from stpe.stages.stage import Request, Window
from stpe.stages.trajectory import Trajectory
from stpe.video.frame import Frame

SURE = 0.8
SAMPLING = "7-Scenes at 10 Hz, reported every half second; RealEstate clips whole"


def run(data: Path) -> list[dict[str, Any]]:
    """Depth rows, then path rows."""
    folder = data / "rgbd_pose_7scenes_redkitchen_a"
    images, poses, matrix = _seven_scenes(data)
    frames = _followed(images, matrix, 30.0, 3, 5)
    files = sorted((folder / "depth_registered").iterdir())
    rows = [
        _depth_row("7scenes, confidence over 0", frames, files, 0.0),
        _depth_row(f"7scenes, confidence over {SURE}", frames, files, SURE),
        _path_row("7scenes", [(frames, poses)]),
    ]
    clips = []
    for path in sorted((data / "realestate10k_clips").glob("*.mp4")):
        images, poses, matrix = _realestate(path)
        clips.append((_followed(images, matrix, 8.0, 1, 1), poses))
    return [*rows, _path_row("realestate10k", clips)]


def _followed(
    images: list[np.ndarray], matrix: np.ndarray, fps: float, step: int, every: int
) -> list[dict[str, Any]]:
    """`frames` rows: motion over `step` frames, reported `every` so many of those intervals."""
    source = source_of(images[0], fps)
    shown = [Frame(i, i / fps, small(image)) for i, image in enumerate(images)]
    names = {"fx": matrix[0, 0], "fy": matrix[1, 1], "cx": matrix[0, 2], "cy": matrix[1, 2]}
    camera = json.dumps({k: float(v) for k, v in names.items()})
    motion = motion_of(
        list(zip(shown[:-step:step], shown[step::step], strict=False)), source, camera
    )
    kept = list(range(0, len(images), step * every))
    rows = {"frames": pa.table({"frame_index": kept, "pts": [i / fps for i in kept]}),
            "motion": motion}  # fmt: skip
    request = Request(camera=camera)
    found = GeometricDepth({}, request).process(Window(source, ALL, rows=rows)).tables["frames"]
    turned = FrameCamera({}, request).process(Window(source, ALL, rows=rows)).tables["frames"]
    found = found.append_column("camera_rotation_deg", turned["camera_rotation_deg"])
    paths = Trajectory({}, Request()).process(Window(source, ALL, rows={"frames": found}))
    poses = paths.tables["frames"]["camera_to_world"].to_pylist()
    return [row | {"pose": pose} for row, pose in zip(found.to_pylist(), poses, strict=True)]


def _depth_row(
    name: str, frames: list[dict[str, Any]], files: list[Path], least: float
) -> dict[str, Any]:
    ours, constant, share = [], [], []
    for row in frames:
        if row["geometric_depth"] is None:
            continue
        height, width = row["geometric_depth_shape"]
        image = cv2.imread(str(files[row["frame_index"]]), cv2.IMREAD_UNCHANGED)
        down = ((np.arange(height) + 0.5) * image.shape[0] / height).astype(int)
        across = ((np.arange(width) + 0.5) * image.shape[1] / width).astype(int)
        true = image[np.ix_(down, across)].ravel() / 1000.0
        depth = np.array(row["geometric_depth"], np.float64)
        trust = np.array(row["geometric_depth_confidence"], np.float64)
        both = np.isfinite(depth) & (true > 0) & (trust > least)
        share.append(both.sum() / (true > 0).sum())
        scaled = depth[both] * np.median(true[both] / depth[both])
        ours.append(np.mean(np.abs(scaled / true[both] - 1)))
        constant.append(np.mean(np.abs(np.median(true[both]) / true[both] - 1)))
    note = f"{100 * np.mean(share):.0f} % of cells with truth"
    baseline = ("one depth a frame", constant)
    return means_row(name, "AbsRel of triangulated depth, mean", ours, baseline, note)


def _path_row(name: str, clips: list[tuple[list[dict[str, Any]], np.ndarray]]) -> dict[str, Any]:
    ours, equal, restarts = [], [], 0
    for frames, poses in clips:
        numbers = [row["trajectory_id"] for row in frames]
        restarts += len(set(numbers)) - 1
        longest = max(set(numbers), key=numbers.count)
        kept = [r for r in frames if r["trajectory_id"] == longest and r["pose"] is not None]
        found = np.array([row["pose"] for row in kept]).reshape(-1, 4, 4)
        true = poses[[row["frame_index"] for row in kept]]
        length = np.linalg.norm(np.diff(true[:, :3, 3], axis=0), axis=1).sum()
        for path, errors in ((found, ours), (_even(found), equal)):
            apart = absolute_errors(align(path, true, True), true)
            errors.append(100 * np.sqrt((apart**2).mean()) / length)
    note = f"{restarts} restarts; the longest trajectory of each clip"
    baseline = ("steps of equal length", equal)
    return means_row(name, "ATE over path length %, mean of clips", ours, baseline, note)


def _even(poses: np.ndarray) -> np.ndarray:
    """The same path with every step of length one."""
    even = poses.copy()
    steps = np.diff(poses[:, :3, 3], axis=0)
    lengths = np.maximum(np.linalg.norm(steps, axis=1, keepdims=True), 1e-9)
    even[1:, :3, 3] = poses[0, :3, 3] + np.cumsum(steps / lengths, axis=0)
    return even
