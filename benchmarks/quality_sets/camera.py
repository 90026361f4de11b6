"""Camera rotation against OpenCV's essential matrix on ORB matches; moving against still cameras.

Rotation error is the angle between the true and the estimated rotation of an interval, degrees.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from quality_sets.clip_motion import ALL, frames_of, motion_of, small, source_of
from stpe.geometry.rotation import matrix_of, vector_of
from stpe.stages.frame_camera import FrameCamera
from stpe.stages.stage import Request, Window
from stpe.video.frame import Frame

SAMPLING = "rotation: every interval; moving or still: ten frames a second of the first 160"
LOOKED_AT = 160  # frames a clip
#: Clips whose camera was seen to move, and to stand still: path, frames a second.
MOVING = {
    **{f"davis2016/JPEGImages/480p/{name}": 24.0 for name in
       ("blackswan", "bmx-trees", "car-shadow", "dog", "libby", "parkour")},
    "plain_clips/vda_davis_rollercoaster.mp4": 24.0,
    "plain_clips/vipe_dog-example.mp4": 24.0,
}  # fmt: skip
STILL = {
    "mot15_pets09_s2l1/vtest.avi": 7.0,
    "mot15_tud_campus/TUD-Campus.mp4": 25.0,
    "owa_screen_recordings/0.3.2.mkv": 10.0,
    "owa_screen_recordings/0.4.2.mkv": 10.0,
    "owa_screen_recordings/0.5.1.mkv": 10.0,
    "sot_otb_crossing/img": 25.0,
}


def run(data: Path) -> list[dict[str, Any]]:
    """Rotation rows, then the classification row."""
    return [*_rotation(data), _classification(data)]


def _rotation(data: Path) -> list[dict[str, Any]]:
    clips = {"7scenes 30 Hz": (*_seven_scenes(data), 1), "7scenes 10 Hz": (*_seven_scenes(data), 3)}
    images, poses, matrices = [], [], []
    rows = [_compare(name, *clip) for name, clip in clips.items()]
    parts = []
    for path in sorted((data / "realestate10k_clips").glob("*.mp4")):
        images, poses, matrices = _realestate(path)
        parts.append(_errors(images, poses, matrices, 1))
    rows.append(_row("realestate10k", np.concatenate(parts, axis=1)))
    return rows


def _compare(
    name: str, images: list[np.ndarray], poses: np.ndarray, matrix: np.ndarray, step: int
) -> dict[str, Any]:
    return _row(name, _errors(images, poses, matrix, step))


def _row(name: str, errors_2n: np.ndarray) -> dict[str, Any]:
    ours, orb = errors_2n
    return {
        "set": name,
        "metric": "rotation error deg, median",
        "ours": float(np.median(ours)),
        "baseline": "ORB + essential matrix",
        "baseline_value": float(np.median(orb)),
        "n": len(ours),
        "note": f"mean {ours.mean():.3f} against {orb.mean():.3f}",
    }


def _errors(
    images: list[np.ndarray], poses: np.ndarray, matrix: np.ndarray, step: int
) -> np.ndarray:
    """2 x intervals: our errors and ORB's, which counts as no rotation where it fails."""
    source = source_of(images[0], 30.0)
    shown = [Frame(i, i / 30.0, small(image)) for i, image in enumerate(images)]
    pairs = list(zip(shown[:-step:step], shown[step::step], strict=False))
    names = {"fx": matrix[0, 0], "fy": matrix[1, 1], "cx": matrix[0, 2], "cy": matrix[1, 2]}
    motion = motion_of(pairs, source, json.dumps({k: float(v) for k, v in names.items()}))
    found = motion["camera_rotation_deg"].to_pylist()
    errors = []
    for (earlier, later), ours in zip(pairs, found, strict=True):
        truth = (np.linalg.inv(poses[earlier.index]) @ poses[later.index])[:3, :3]
        turn = np.eye(3) if ours is None else matrix_of(np.radians(ours))
        orb = _orb(images[earlier.index], images[later.index], matrix)
        errors.append([_angle(turn.T @ truth), _angle(orb.T @ truth)])
    return np.array(errors).T


def _angle(rotation: np.ndarray) -> float:
    return float(np.degrees(np.linalg.norm(vector_of(rotation))))


def _orb(a: np.ndarray, b: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Camera rotation by OpenCV's usual recipe."""
    orb = cv2.ORB_create(2000)
    (points_a, codes_a), (points_b, codes_b) = (
        orb.detectAndCompute(cv2.cvtColor(x, cv2.COLOR_RGB2GRAY), None) for x in (a, b)
    )
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(codes_a, codes_b)
    pixels_a = np.array([points_a[m.queryIdx].pt for m in matches])
    pixels_b = np.array([points_b[m.trainIdx].pt for m in matches])
    essential, mask = cv2.findEssentialMat(pixels_a, pixels_b, matrix, cv2.RANSAC, 0.999, 1.0)
    if essential is None:
        return np.eye(3)
    _, turn, _, _ = cv2.recoverPose(essential[:3], pixels_a, pixels_b, matrix, mask=mask)
    return np.asarray(turn.T)


def _seven_scenes(data: Path) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    folder = data / "rgbd_pose_7scenes_redkitchen_a"
    poses = np.loadtxt(folder / "poses_color_cam2world.txt").reshape(-1, 4, 4)
    matrix = np.loadtxt(folder / "K_color.txt").reshape(3, 3)
    return list(frames_of(folder / "color")), poses, matrix


def _realestate(path: Path) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    images = list(frames_of(path))
    height, width = images[0].shape[:2]
    lines = path.with_suffix(".txt").read_text().splitlines()[1:]
    numbers = np.array([line.split() for line in lines if line.strip()], np.float64)
    fx, fy, cx, cy = numbers[0, 1:5] * [width, height, width, height]
    to_camera = np.tile(np.eye(4), (len(numbers), 1, 1))
    to_camera[:, :3] = numbers[:, 7:19].reshape(-1, 3, 4)
    matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    return images, np.linalg.inv(to_camera), matrix


def _classification(data: Path) -> dict[str, Any]:
    """Share of clips most of whose frames, at two a second, are rightly called static or not."""
    moving = MOVING | {
        f"realestate10k_clips/{p.name}": 8.0 for p in (data / "realestate10k_clips").glob("*.mp4")
    }
    right, wrong = 0, []
    for path, fps in (moving | STILL).items():
        share = _static_share(data / path, fps)
        if (share < 0.5) == (path in moving):
            right += 1
        else:
            wrong.append(path)
    return {
        "set": "all clips",
        "metric": "moving against still camera, share right",
        "ours": right / (right + len(wrong)),
        "baseline": "always moving",
        "baseline_value": len(moving) / (right + len(wrong)),
        "n": right + len(wrong),
        "note": "wrong: " + ", ".join(wrong) if wrong else "",
    }


def _static_share(path: Path, fps: float) -> float:
    step = max(1, round(fps / 10))
    shown, source = [], None
    for index, image in enumerate(frames_of(path)):
        if index >= LOOKED_AT:
            break
        source = source or source_of(image, fps)
        if index % step == 0:
            shown.append(Frame(index, index / fps, small(image)))
    assert source is not None
    motion = motion_of(list(pairwise(shown)), source)
    kept = shown[:: max(1, round(fps / step / 2))]
    frames = pa.table({"frame_index": [f.index for f in kept], "pts": [f.pts for f in kept]})
    rows = {"frames": frames, "motion": motion}
    out = FrameCamera({}, Request()).process(Window(source, ALL, rows=rows))
    labels = [x for x in out.tables["frames"]["camera_motion"].to_pylist() if x is not None]
    return labels.count("static") / max(1, len(labels))
