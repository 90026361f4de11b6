"""Reads what the user gives as `--camera`: JSON, or a trajectory file of a known layout.

- JSON as in `stpe.geometry.supplied`; `depth` may be a folder's name, or {folder, scale}.
- RealEstate10K: an address line, then `time fx fy cx cy 0 0` and a 3x4 world-to-camera pose a
  frame; intrinsics as shares of the frame.
- TUM RGB-D: `time tx ty tz qx qy qz qw`, camera-to-world, or columns that a header names; their
  times in any unit of `stpe.clocks`.
- 7-Scenes and ScanNet: sixteen numbers a frame, camera-to-world, one frame after the other.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stpe import strict_json
from stpe.clocks.numbering import base_of
from stpe.clocks.reading import in_seconds
from stpe.clocks.stamps import stamp_in, stamp_of
from stpe.clocks.units import SECONDS
from stpe.errors import SourceError, UsageError
from stpe.geometry.pose_text import PoseLines, read_pose_lines
from stpe.geometry.supplied import SuppliedDepth, supplied

_IMAGES = (".png",)
#: PNG depth of RGB-D data sets is in millimetres, unless said otherwise.
_MILLIMETRES = 1e-3


def read_camera(given: str | Path) -> tuple[str, str]:
    """The document of a file, or of JSON given as text, and its part on depth images alone.

    What depends on the file depends on these alone: they hold a hash of the images.

    Raises:
        UsageError: it cannot be read, or says something impossible.
    """
    if not str(given).strip():
        return "", ""
    if isinstance(given, str) and given.lstrip().startswith("{"):
        document, folder = _json(given), Path()
    else:
        path = Path(given)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not text"
            raise UsageError(f"cannot read --camera {path}: {why}") from None
        folder = path.parent
        document = _json(text) if text.lstrip().startswith(("{", "[")) else _lines(text, path.name)
    if isinstance(document, dict) and "poses" in document:
        document = _in_pts(document) if "clock" not in document else document
    if isinstance(document, dict) and isinstance(document.get("depth"), (str, dict)):
        document = {**document, "depth": _depth(document["depth"], folder)}
    stored = strict_json.dumps(document, sort_keys=True)
    supplied(stored)  # wrong ones are refused here
    images = {key: document[key] for key in ("depth", "unit") if key in document}
    return stored, strict_json.dumps(images, sort_keys=True) if "depth" in images else ""


def read_depth(
    given: SuppliedDepth,
    frame_index: int,
    size: tuple[int, int],
    frame_count: int | None = None,
) -> NDArray[np.float32] | None:
    """Depth of a frame, H x W in `given.unit`, NaN where the image has none; None without image.

    Args:
        frame_count: of the video, where it is known, to tell from where the images are numbered.

    Raises:
        SourceError: the image is damaged, or not of the shape of the stored frame (`size`).
    """
    base, _ = base_of(given.files.keys(), frame_count)
    name = given.files.get(frame_index + base)
    if name is None:
        return None
    image = cv2.imread(str(Path(given.folder) / name), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 2:
        raise SourceError(f"{name} of --camera is no depth image of one channel; convert it")
    height, width = image.shape
    if abs(width * size[1] - height * size[0]) > 0.02 * width * size[1]:
        raise SourceError(
            f"{name} of --camera is {width}x{height} and the video {size[0]}x{size[1]}: give depth "
            "images of the video's shape"
        )
    depth = image.astype(np.float32) * np.float32(given.scale)
    return np.where(image > 0, depth, np.float32(np.nan))


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(f"--camera is no JSON: {error}") from None


def _lines(text: str, name: str) -> dict[str, Any]:
    try:
        read = read_pose_lines(text, f"--camera {name}")
    except SourceError as error:
        raise UsageError(str(error)) from None
    if read is not None:
        return _timed(read)
    lines = [line.split() for line in text.splitlines() if line.strip()[:1] not in ("", "#")]
    if lines and len(lines[0]) == 1 and not _is_number(lines[0][0]):
        return _realestate(lines[1:], name)
    try:
        numbers = [[float(word) for word in line] for line in lines]
    except ValueError:
        numbers = []
    widths = {len(line) for line in numbers}
    flat = [n for line in numbers for n in line]
    if flat and widths <= {4, 16} and len(flat) % 16 == 0:
        poses = np.array(flat).reshape(-1, 16).tolist()
        return {"poses": [{"frame_index": i, "camera_to_world": p} for i, p in enumerate(poses)]}
    raise UsageError(
        f"--camera {name} is of no known layout; give JSON, or a trajectory as RealEstate10K, "
        "TUM or 7-Scenes write it"
    )


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _realestate(lines: list[list[str]], name: str) -> dict[str, Any]:
    try:
        numbers = np.array(lines, np.float64)
        fx, fy, cx, cy = numbers[0, 1:5].tolist()
        to_camera = np.tile(np.eye(4), (len(numbers), 1, 1))
        to_camera[:, :3] = numbers[:, 7:19].reshape(-1, 3, 4)
        poses = np.linalg.inv(to_camera)
    except (ValueError, IndexError, np.linalg.LinAlgError):
        raise UsageError(f"--camera {name} is no RealEstate10K file of 19 numbers a line") from None
    found = [{"frame_index": i, "camera_to_world": p.ravel().tolist()} for i, p in enumerate(poses)]
    return {"fx": fx, "fy": fy, "cx": cx, "cy": cy, "normalised": True, "poses": found}


def _timed(read: PoseLines) -> dict[str, Any]:
    began = read.clock.times[0]
    poses = [
        {"pts": time - began, "camera_to_world": pose.ravel().tolist()}
        for time, pose in zip(read.clock.times, read.poses_N44, strict=True)
    ]
    said = [f"--camera: {text}" for text in (*read.said, *read.clock.said)]
    clock = {"clock": read.clock.kind, "began": began}
    return {"poses": poses, "unit": "metres", **clock, "read_as": said}


def _in_pts(document: dict[str, Any]) -> dict[str, Any]:
    """Poses whose times have another unit, or are Unix times, with `pts` in seconds instead.

    `pts` is in seconds already; a unit is named in the field, or told by size.
    """
    poses = document["poses"]
    if not isinstance(poses, list) or not poses or not all(isinstance(p, dict) for p in poses):
        return document
    if "frame_index" in poses[0]:
        return document
    stamps = [stamp_of(p["pts"]) if "pts" in p else stamp_in(p) for p in poses]
    if any(s is None or not math.isfinite(s.value) for s in stamps):
        return document
    known = [s for s in stamps if s is not None]
    if "pts" in poses[0]:
        known = [replace(s, unit=s.unit or SECONDS) for s in known]
    try:
        clock = in_seconds(known, "--camera")
    except SourceError as error:
        raise UsageError(str(error)) from None
    timed = [
        {"pts": time, "camera_to_world": pose.get("camera_to_world")}
        for time, pose in zip(clock.times, poses, strict=True)
    ]
    kind = "pts" if clock.kind == "relative" and "pts" in poses[0] else clock.kind
    said = [f"--camera: {text}" for text in clock.said]
    read_as = {"read_as": said} if said else {}
    return {**document, "poses": timed, "clock": document.get("clock", kind), **read_as}


def _depth(given: str | dict[str, Any], beside: Path) -> dict[str, Any]:
    """Folder, scale and files by frame: the number in a file's name, else its place in order."""
    entry = {"folder": given} if isinstance(given, str) else given
    if "files" in entry:
        return entry
    folder = (beside / str(entry.get("folder", ""))).resolve()
    names = sorted(p.name for p in folder.glob("*") if p.suffix.lower() in _IMAGES)
    if not names:
        raise UsageError(f"--camera: {folder} holds no PNG depth image")
    numbers = [re.findall(r"\d+", name) for name in names]
    by_name = all(numbers) and len({int(n[-1]) for n in numbers}) == len(names)
    frames = [int(n[-1]) for n in numbers] if by_name else list(range(len(names)))
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode() + b"\0" + hashlib.sha256((folder / name).read_bytes()).digest())
    return {
        "folder": str(folder),
        "scale": entry.get("scale", _MILLIMETRES),
        "files": {str(n): name for n, name in zip(frames, names, strict=True)},
        "sha256": digest.hexdigest(),
    }
