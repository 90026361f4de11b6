"""Camera poses: RealEstate10K, rows of matrices, and TUM trajectories.

Sources: Zhou et al., "Stereo Magnification: Learning View Synthesis using Multiplane Images",
SIGGRAPH 2018; Geiger et al., "Are we ready for Autonomous Driving?", CVPR 2012 (rows of 12);
Sturm et al., "A Benchmark for the Evaluation of RGB-D SLAM Systems", IROS 2012 (rows of 8).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stpe.errors import TruthError
from stpe.evaluate.labels.context import Context
from stpe.evaluate.labels.numbers import text_of
from stpe.evaluate.truth import Truth, TruthFrame
from stpe.geometry.intrinsics import Intrinsics
from stpe.geometry.pose_text import PoseLines

F64 = NDArray[np.float64]


def is_realestate(path: Path) -> bool:
    """A line of text, then rows of 19 numbers."""
    lines = [line.split() for line in text_of(path).splitlines() if line.strip()]
    return len(lines) > 1 and len(lines[0]) == 1 and all(len(line) == 19 for line in lines[1:])


def read_realestate(path: Path, width: int, height: int) -> Truth:
    """World-to-camera poses up to scale; intrinsics as shares of the picture's size.

    Args:
        width, height: of the video, which the file does not say.
    """
    lines = [line.split() for line in text_of(path).splitlines()[1:] if line.strip()]
    try:
        rows = np.array(lines, np.float64)
    except ValueError as error:
        raise TruthError(f"{path}: {error}") from None
    to_camera = np.tile(np.eye(4), (len(rows), 1, 1))
    to_camera[:, :3] = rows[:, 7:19].reshape(-1, 3, 4)
    poses = poses_of(path, np.asarray(np.linalg.inv(to_camera), np.float64))
    frames = {}
    for index, (row, pose) in enumerate(zip(rows, poses, strict=True)):
        fx, fy, cx, cy = row[1:5] * [width, height, width, height]
        frames[index] = TruthFrame(camera_to_world_44=pose, intrinsics=Intrinsics(fx, fy, cx, cy))
    return Truth("RealEstate10K", path, frame_count=len(rows), frames=frames)


def matrices_of(path: Path, rows_N: F64) -> F64:
    """N x 4 x 4 from rows of 12 or 16 numbers, or of a file of 4-number lines.

    Raises:
        TruthError: the numbers are not poses.
    """
    if rows_N.shape[1] == 4 and len(rows_N) % 4 == 0:
        return poses_of(path, rows_N.reshape(-1, 4, 4))
    poses = np.tile(np.eye(4), (len(rows_N), 1, 1))
    poses[:, :3] = rows_N[:, :12].reshape(-1, 3, 4)
    return poses_of(path, poses)


def poses_of(path: Path, poses_N44: F64) -> F64:
    """The same poses. Raises TruthError where one is not rigid or not finite."""
    turn = poses_N44[:, :3, :3]
    error = np.abs(turn @ turn.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
    bad = np.flatnonzero(~(error < 0.02) | ~np.isfinite(poses_N44).all(axis=(1, 2)))
    if len(bad):
        raise TruthError(f"{path}: the pose of frame {bad[0]} is not a rigid motion")
    return poses_N44


def read_matrices(path: Path, rows_N: F64, context: Context) -> Truth:
    """Camera-to-world poses, one a frame, in metres (KITTI odometry, flattened 4x4)."""
    poses = matrices_of(path, rows_N)
    context.say("read as camera-to-world matrices in metres, one a frame")
    frames = {i: TruthFrame(camera_to_world_44=pose) for i, pose in enumerate(poses)}
    return Truth("poses", path, frame_count=len(poses), frames=frames, metric=True)


def read_tum(path: Path, read: PoseLines, context: Context) -> Truth:
    """A trajectory with one line a frame, in metres; times count from the first line."""
    times, poses = read.clock.times, poses_of(path, read.poses_N44)
    for text in (*read.said, *read.clock.said):
        context.say(text)
    context.say("poses are camera-to-world in metres, one a frame in order")
    frames = {
        i: TruthFrame(float(t - times[0]), pose)
        for i, (t, pose) in enumerate(zip(times, poses, strict=True))
    }
    return Truth("trajectory", path, frame_count=len(poses), frames=frames, metric=True)
