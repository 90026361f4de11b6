"""Finds out what kind of ground truth a path holds, by names and content, and reads it.

Where what is there may be of several kinds it is refused, and the user says which.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stpe.errors import SourceError, TruthError
from stpe.evaluate.labels import (
    boxes,
    cameras,
    cuts,
    depth_images,
    flow_files,
    mask_images,
    object_rows,
)
from stpe.evaluate.labels.context import Context
from stpe.evaluate.labels.declared import FORMATS, read_declared
from stpe.evaluate.labels.numbers import json_of, table_of, text_of
from stpe.evaluate.labels.simulator import read_simulator
from stpe.evaluate.truth import Truth
from stpe.geometry.pose_text import read_pose_lines

F64 = NDArray[np.float64]

KINDS = (
    "a simulator's recording or its truth folder, MOT gt.txt or its folder, a folder of masks, "
    ".flo files, 16-bit depth images (with poses), camera poses, a cut list (JSON or CSV), or "
    "one x,y,w,h a line"
)
#: Files looked at in a folder before it is called unknown.
_LOOKED_AT = 4


def read_truth(
    path: str | Path,
    size: tuple[int, int] | None = None,
    declared: str | None = None,
    frame_count: int | None = None,
    times: Sequence[float] | None = None,
) -> Truth:
    """The truth at `path`.

    Args:
        path: a file or folder of any kind in KINDS.
        size: (width, height) of the video, for labels that give shares of it.
        declared: its format, one of FORMATS; None to find out.
        frame_count: of the video, to tell from where files are numbered.
        times: pts of every decoded frame, for labels in seconds.

    Raises:
        TruthError: there is nothing, it is of no known kind or may be of several, or damaged.
        UsageError: no format is called so.
    """
    place = Path(path)
    context = Context(size, frame_count, times)
    if not place.exists():
        raise TruthError(f"{path} does not exist: give {KINDS}")
    if declared is not None:
        found: Truth | None = read_declared(place, declared, context)
    else:
        found = _folder(place, context) if place.is_dir() else _file(place, context)
    if found is None:
        raise TruthError(
            f"{path} is no ground truth that is known here: give {KINDS}; or say --truth-format "
            f"({', '.join(FORMATS)})"
        )
    return replace(found, read_as=tuple(context.said))


def _folder(folder: Path, context: Context) -> Truth | None:
    for place in (folder, folder / "truth"):
        if (place / "truth.json").is_file():
            return read_simulator(place)
    if (folder / "gt" / "gt.txt").is_file():
        return _file(folder / "gt" / "gt.txt", context)
    for name in (
        "test_annotations.json",
        "transitions.json",
        "groundtruth_rect.txt",
        "groundtruth.txt",
    ):
        if (folder / name).is_file():
            return _file(folder / name, context)
    for place in (folder, *sorted(p for p in folder.iterdir() if p.is_dir())):
        found = _images(folder, place, context)
        if found is not None:
            return found
    return None


def _images(folder: Path, place: Path, context: Context) -> Truth | None:
    """Truth in the image-like files that lie directly in `place`."""
    Group = tuple[str, Callable[[Path], bool], Callable[[Path, list[Path], Context], Truth]]
    groups: tuple[Group, ...] = (
        ("*.flo", lambda file: True, flow_files.read_flow),
        ("*depth*.png", _is_depth, depth_images.read_depth),
        ("*.png", _is_depth, depth_images.read_depth),
        ("*.png", _is_mask, mask_images.read_masks),
    )
    for pattern, fits, read in groups:
        files = sorted(place.glob(pattern))
        if files and all(fits(file) for file in files[:_LOOKED_AT]):
            return read(folder, files, context)
    return None


def _is_mask(file: Path) -> bool:
    return mask_images.load_mask(file) is not None


def _is_depth(file: Path) -> bool:
    """Raises TruthError where a 16-bit image or an array may be depth or something else."""
    if not depth_images.is_depth(file):
        return False
    if depth_images.is_named_depth(file):
        return True
    if file.suffix == ".npy":
        raise TruthError(
            f"{file} may be depth, disparity or something else: say --truth-format depth-npy"
        )
    image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    values = 0 if image is None else len(np.unique(image))
    raise TruthError(
        f"{file} is a 16-bit image with {values} values, and nothing says if they are depth, "
        "disparity or instance numbers: say --truth-format ids, kitti-mots, depth-mm, depth-kitti "
        "or depth-tum"
    )


def _file(path: Path, context: Context) -> Truth | None:
    suffix = path.suffix.lower()
    if suffix == ".flo":
        return flow_files.read_flow(path, [path], context)
    if suffix in (".png", ".npy"):
        if _is_depth(path):
            return depth_images.read_depth(path, [path], context)
        if suffix == ".png" and mask_images.load_mask(path) is not None:
            return mask_images.read_masks(path, [path], context)
        return None
    if suffix == ".json":
        return _json(path, context)
    if suffix not in (".txt", ".csv", ".tum", ""):
        return None
    if cuts.is_scene_csv(path):
        return cuts.read_scene_csv(path)
    if cameras.is_realestate(path):
        if context.size is None:
            raise TruthError(f"{path} gives shares of the picture: its size must be known")
        return cameras.read_realestate(path, *context.size)
    if object_rows.is_kitti(path):
        return object_rows.read_kitti(path, context)
    columns = object_rows.header_of(path)
    if columns is not None:
        return object_rows.read_named(path, columns, context)
    try:
        trajectory = read_pose_lines(text_of(path), str(path))
    except SourceError as error:
        raise TruthError(f"{error}, or say --truth-format tum") from None
    if trajectory is not None:
        return cameras.read_tum(path, trajectory, context)
    rows = table_of(path)
    return None if rows is None else _table(path, rows, context)


def _json(path: Path, context: Context) -> Truth | None:
    document: Any = json_of(path)
    if (
        isinstance(document, list)
        and document
        and all(isinstance(x, int | float) for x in document)
    ):
        document = {"cuts": document}
    if not isinstance(document, dict):
        return None
    if path.name == "truth.json":
        return read_simulator(path.parent)
    if document.keys() & {"transitions", "cuts", "cuts_s"}:
        return cuts.read_cuts_json(path, document, context)
    if "files" in document:
        return depth_images.read_annotations(path, document)
    if "annotations" in document and "categories" in document:
        raise TruthError(
            f"{path} is COCO or YouTube-VIS JSON, which is not read: write a CSV with the columns "
            "frame, id, x, y, w, h, class"
        )
    return None


def _table(path: Path, rows_N: F64, context: Context) -> Truth | None:
    columns = rows_N.shape[1]
    if columns in (7, 9, 10) and (rows_N[:, :2] % 1 == 0).all():
        _refuse_like_mot(path, rows_N)
        return boxes.read_mot(path, rows_N, context)
    if columns == 6 and (rows_N[:, :2] % 1 == 0).all():
        raise TruthError(
            f"{path} has rows of 6: say --truth-format mot if they are MOT's, without a flag"
        )
    if columns == 8:
        if path.stem.startswith(("groundtruth", "polygon")) and boxes.are_polygons(rows_N):
            return boxes.read_polygons(path, rows_N, context)
        raise TruthError(
            f"{path} has rows of 8, which may be frame,id,x,y,w,h,score,class, four corners or a "
            "pose: say --truth-format mot-8, polygons or tum"
        )
    if columns == 1:
        return cuts.read_cuts_json(path, {"cuts": cuts.numbers_of(path)}, context)
    if columns in (12, 16):
        return cameras.read_matrices(path, rows_N, context)
    if columns == 4:
        if len(rows_N) % 4 == 0 and (rows_N[3::4] == [0, 0, 0, 1]).all():
            return cameras.read_matrices(path, rows_N, context)
        return boxes.read_one_box(path, rows_N, context)
    return None


def _refuse_like_mot(path: Path, rows_N: F64) -> None:
    """Raise TruthError for rows as long as MOT's that may be of another format."""
    if (path.parent / "seqinfo.ini").is_file() or (path.parent.parent / "seqinfo.ini").is_file():
        return
    last = rows_N[:, 7:]
    if rows_N.shape[1] == 10 and (last >= 0).all() and (last % 1 == 0).all():
        raise TruthError(
            f"{path} has rows of 10 that end in whole numbers, as VisDrone's category, truncation "
            "and occlusion do: say --truth-format visdrone, or mot if they are positions of people"
        )
    flags = rows_N[:, 6]
    if rows_N.shape[1] == 7 and ((flags < 0) | (flags > 1)).any():
        raise TruthError(
            f"{path} has rows of 7 whose last, {flags.max():g}, is no flag or score: name the "
            "columns in a first line, as in frame,id,x,y,w,h,class"
        )
