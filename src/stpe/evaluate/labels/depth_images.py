"""Depth images with or without poses: 7-Scenes style folders, NYU and KITTI stills.

Sources: Shotton et al., "Scene Coordinate Regression Forests for Camera Relocalization in RGB-D
Images", CVPR 2013 (16-bit millimetres, camera-to-world poses); Silberman et al., "Indoor
Segmentation and Support Inference from RGBD Images", ECCV 2012; Uhrig et al., "Sparsity Invariant
CNNs", 3DV 2017 (16-bit, 1/256 m).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stpe.errors import TruthError
from stpe.evaluate.labels.cameras import matrices_of
from stpe.evaluate.labels.context import Context
from stpe.evaluate.labels.numbers import numbered, table_of
from stpe.evaluate.truth import F32, DepthReader, MaskHW, Truth, TruthFrame
from stpe.geometry.intrinsics import Intrinsics

F64 = NDArray[np.float64]

MILLIMETRES, KITTI, TUM = 1000.0, 256.0, 5000.0
_PICTURES = ("rgb", "color", "colour", "image", "frames")
#: Median depths in metres between which a picture is believed to be of a scene.
_NEAREST_M, _FARTHEST_M = 0.02, 500.0
_NO_DEPTH = 65535  # 7-Scenes marks missing depth so, others with 0


def is_depth(path: Path) -> bool:
    """Whether a file is a 16-bit image of one channel, or a float array of two dimensions."""
    if path.suffix == ".npy":
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError):
            return False
        return bool(array.ndim == 2 and array.dtype.kind == "f" and min(array.shape) > 16)
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return image is not None and image.dtype == np.uint16 and image.ndim == 2


def load_depth(path: Path, scale: float = MILLIMETRES) -> tuple[F32, MaskHW]:
    """depth_HW in metres and where it is known; `scale` is image values a metre.

    Raises:
        TruthError: the file is no depth image.
    """
    if path.suffix == ".npy":
        metres = np.load(path, allow_pickle=False).astype(np.float32)
        return metres, np.asarray(np.isfinite(metres) & (metres > 0))
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype != np.uint16 or image.ndim != 2:
        raise TruthError(f"{path} is not a depth image: 16 bits, one channel")
    return (image / scale).astype(np.float32), np.asarray((image > 0) & (image < _NO_DEPTH))


def is_named_depth(path: Path) -> bool:
    """Whether a file or its folder is called depth, and not disparity."""
    names = path.name.lower(), path.absolute().parent.name.lower()
    return any("depth" in n for n in names) and not any("disp" in n for n in names)


def read_depth(
    path: Path, files: list[Path], context: Context, scale: float | None = None
) -> Truth:
    """Depth of a clip, with the poses and intrinsics that lie beside it.

    `path` is the file, the folder of images or the folder above it. Poses are one text file of
    matrices, or `*.pose.txt` a frame; intrinsics a `K*.txt` or `*intrinsics*` of 3x3 numbers.

    Args:
        scale: image values a metre; None to take millimetres, or KITTI's where it looks so.

    Raises:
        TruthError: there are several files of poses and none is of the colour camera.
    """
    if scale is None:
        scale = _scale(sorted(files)[0])
        _check_metres(files[0], scale)
        if files[0].suffix == ".npy":
            context.say("depth in floats read as metres")
        else:
            unit = "1/256 m, as KITTI has it," if scale == KITTI else "millimetres"
            context.say(f"16-bit depth read as {unit} by its look; --truth-format says otherwise")
    folders = dict.fromkeys((files[0].parent, files[0].parent.parent, path))
    beside = [file for folder in folders if folder.is_dir() for file in sorted(folder.iterdir())]
    camera = _intrinsics(beside)
    poses = _poses(path, beside)
    if poses is not None and len(poses) != len(files):
        raise TruthError(f"{path}: {len(poses)} poses and {len(files)} depth images")
    # With a pose each, or alone, they are the whole of what was cut out.
    pictures = _pictures_of(files)
    if pictures is None:
        by_frame = numbered(files, context, whole=poses is not None or len(files) == 1)
    else:
        by_frame = dict(enumerate(sorted(files)))
        context.say(f"depth images are of the pictures in {pictures}, in their order from frame 0")
    indices = sorted(by_frame)
    frames = {
        index: TruthFrame(camera_to_world_44=None if poses is None else poses[i], intrinsics=camera)
        for i, index in enumerate(indices)
    }
    height, width = load_depth(files[0], scale)[0].shape
    return Truth(
        "depth",
        path,
        width,
        height,
        frame_count=len(indices) if indices == list(range(len(indices))) else None,
        frames=frames,
        depth=_reader({i: (file, scale) for i, file in by_frame.items()}),
        metric=True,
    )


def _check_metres(file: Path, scale: float) -> None:
    depth_HW, known_HW = load_depth(file, scale)
    middle = float(np.median(depth_HW[known_HW])) if known_HW.any() else 1.0
    if not _NEAREST_M <= middle <= _FARTHEST_M:
        raise TruthError(
            f"{file}: a median depth of {middle:.3g} m is not that of a scene: is it depth, and in "
            "what unit? Say --truth-format depth-mm, depth-kitti or depth-tum, or write metres"
        )


def _scale(file: Path) -> float:
    """Image values a metre: KITTI's where the picture is as wide and as sparse as KITTI's are."""
    depth_HW, known_HW = load_depth(file)
    height, width = depth_HW.shape
    return KITTI if width > 3 * height and known_HW.mean() < 0.5 else MILLIMETRES


def read_annotations(path: Path, document: Mapping[str, Any]) -> Truth:
    """`{"files": [{"rgb", "depth", "cam_in": [fx, fy, cx, cy], "depth_scale"}, ...]}`.

    Frames are the pictures sorted by name, as a folder of images is read.

    Raises:
        TruthError: an entry lacks a field, or its depth image is not there.
    """
    frames, files = {}, {}
    try:
        entries = sorted(document["files"], key=lambda e: str(e["rgb"]))
        for index, entry in enumerate(entries):
            given = entry.get("cam_in")
            camera = None if given is None else Intrinsics(*(float(v) for v in given))
            frames[index] = TruthFrame(intrinsics=camera)
            depth = path.parent.joinpath(*Path(entry["depth"]).parts[-2:])
            files[index] = (depth, float(entry.get("depth_scale", MILLIMETRES)))
    except (KeyError, TypeError, ValueError) as error:
        raise TruthError(f"{path}: an entry cannot be read ({error!r})") from None
    sizes = {load_depth(*file)[0].shape for file in files.values()}
    height, width = next(iter(sizes)) if len(sizes) == 1 else (None, None)
    return Truth(
        "depth", path, width, height, len(files), frames, depth=_reader(files), metric=True
    )


def _pictures_of(files: list[Path]) -> str | None:
    """The folder beside that holds a picture for each depth image, under the same names."""
    names = {file.stem for file in files}
    for folder in sorted(p for p in files[0].absolute().parent.parent.iterdir() if p.is_dir()):
        called = folder.name.lower()
        if called == files[0].parent.name.lower() or not any(w in called for w in _PICTURES):
            continue
        found = {p.stem for p in folder.iterdir() if p.suffix.lower() in (".png", ".jpg", ".jpeg")}
        if found == names:
            return called
    return None


def _reader(files: Mapping[int, tuple[Path, float]]) -> DepthReader:
    def read(index: int) -> tuple[F32, MaskHW] | None:
        return load_depth(*files[index]) if index in files else None

    return read


def _intrinsics(beside: list[Path]) -> Intrinsics | None:
    for file in beside:
        name = file.name.lower()
        if not (name.startswith("k") or "intrinsics" in name):
            continue
        if file.suffix == ".npy":
            matrix = np.load(file, allow_pickle=False)
        elif file.suffix == ".txt":
            matrix = table_of(file)
        else:
            continue
        if matrix is not None and matrix.size in (9, 16) and matrix.ndim == 2:
            k = matrix if matrix.shape[0] == matrix.shape[1] else matrix.reshape(3, 3)
            return Intrinsics(*(float(v) for v in (k[0, 0], k[1, 1], k[0, 2], k[1, 2])))
    return None


def _poses(path: Path, beside: list[Path]) -> F64 | None:
    single = numbered([file for file in beside if file.name.endswith("pose.txt")])
    if len(single) > 1:
        tables = [table_of(single[i]) for i in sorted(single)]
        if any(table is None or table.shape != (4, 4) for table in tables):
            raise TruthError(f"{path}: a *.pose.txt is not a 4x4 matrix")
        return matrices_of(path, np.concatenate([t for t in tables if t is not None]))
    named = [f for f in beside if f.suffix == ".txt" and "pose" in f.name.lower()]
    if len(named) > 1:
        named = [f for f in named if "color" in f.name.lower() or "rgb" in f.name.lower()]
        if len(named) != 1:
            raise TruthError(f"{path}: several files of poses; leave the colour camera's only")
    if not named:
        return None
    rows = table_of(named[0])
    if rows is None or rows.shape[1] not in (4, 12, 16):
        raise TruthError(f"{named[0]} does not hold rows of 12 or 16 numbers")
    return matrices_of(named[0], rows)
