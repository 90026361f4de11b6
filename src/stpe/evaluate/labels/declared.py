"""Formats of truth that a user can declare, and the reader of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stpe.errors import SourceError, TruthError, UsageError
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
from stpe.evaluate.labels.numbers import json_of, table_of, text_of
from stpe.evaluate.labels.simulator import read_simulator
from stpe.evaluate.truth import Truth
from stpe.geometry.pose_text import read_pose_lines

F64 = NDArray[np.float64]
Reader = Callable[[Path, Context], Truth]

#: Files that data sets keep their labels in, below the folder that is given.
_LABEL_FILES = ("gt/gt.txt", "gt.txt", "groundtruth_rect.txt", "groundtruth.txt")


def read_declared(path: Path, format_: str, context: Context) -> Truth:
    """Truth in a declared format.

    Raises:
        UsageError: there is no such format.
        TruthError: what is there does not fit it.
    """
    if format_ not in FORMATS:
        raise UsageError(f"no truth format {format_!r}: one of {', '.join(FORMATS)}")
    return FORMATS[format_](path, context)


def _rows(
    read: Callable[[Path, F64, Context], Truth],
    columns: Sequence[int],
    path: Path,
    context: Context,
) -> Truth:
    file = _label_file(path)
    rows = table_of(file)
    if rows is None or rows.shape[1] not in columns:
        found = "no rows of numbers" if rows is None else f"rows of {rows.shape[1]}"
        wanted = " or ".join(map(str, columns))
        raise TruthError(f"{file} holds {found}, and the format has rows of {wanted} numbers")
    return read(file, rows, context)


def _images(
    read: Callable[..., Truth], pattern: str, path: Path, context: Context, **options: Any
) -> Truth:
    if path.is_file():
        return read(path, [path], context, **options)
    for place in (path, *sorted(p for p in path.iterdir() if p.is_dir())):
        files = sorted(place.glob(pattern))
        if files:
            return read(path, files, context, **options)
    raise TruthError(f"{path} holds no {pattern}")


def _simulator(path: Path, context: Context) -> Truth:
    place = path.parent if path.is_file() else path
    return read_simulator(place / "truth" if (place / "truth").is_dir() else place)


def _kitti(path: Path, context: Context) -> Truth:
    return object_rows.read_kitti(_label_file(path), context)


def _named(path: Path, context: Context) -> Truth:
    file = _label_file(path)
    columns = object_rows.header_of(file)
    if columns is None:
        raise TruthError(
            f"{file}: its first line must name the columns: frame, id, x, y, w, h or xmin, ymin, "
            "xmax, ymax, and class if there is one"
        )
    return object_rows.read_named(file, columns, context)


def _tum(path: Path, context: Context) -> Truth:
    file = _label_file(path)
    try:
        read = read_pose_lines(text_of(file), str(file), declared=True)
    except SourceError as error:
        raise TruthError(str(error)) from None
    if read is None:
        raise TruthError(f"{file} has no lines of time, place and a quaternion of length 1")
    return cameras.read_tum(file, read, context)


def _realestate(path: Path, context: Context) -> Truth:
    if context.size is None or not cameras.is_realestate(path):
        raise TruthError(f"{path} is no RealEstate10K file, or the picture's size is not known")
    return cameras.read_realestate(path, *context.size)


def _cuts(seconds: bool, path: Path, context: Context) -> Truth:
    if path.suffix.lower() == ".json":
        document = json_of(path)
        document = {"cuts": document} if isinstance(document, list) else document
    elif cuts.is_scene_csv(path) and not seconds:
        return cuts.read_scene_csv(path)
    else:
        document = {"cuts": cuts.numbers_of(path, seconds)}
    if not isinstance(document, dict):
        raise TruthError(f"{path} holds no list of cuts")
    return cuts.read_cuts_json(path, document, context, seconds)


def _label_file(path: Path) -> Path:
    if path.is_file():
        return path
    for name in _LABEL_FILES:
        if (path / name).is_file():
            return path / name
    texts = sorted(p for s in ("*.txt", "*.csv") for p in path.glob(s))
    if len(texts) == 1:
        return texts[0]
    raise TruthError(f"{path} holds {len(texts)} text files: give the one with the labels")


FORMATS: dict[str, Reader] = {
    "simulator": _simulator,
    "mot": partial(_rows, boxes.read_mot, (6, 7, 9, 10)),
    "mot-8": partial(_rows, object_rows.read_mot8, (8,)),
    "visdrone": partial(_rows, object_rows.read_visdrone, (10,)),
    "kitti": _kitti,
    "boxes-csv": _named,
    "one-box": partial(_rows, boxes.read_one_box, (4,)),
    "polygons": partial(_rows, boxes.read_polygons, (8,)),
    "davis": partial(_images, mask_images.read_masks, "*.png"),
    "ids": partial(_images, mask_images.read_ids, "*.png"),
    "kitti-mots": partial(_images, mask_images.read_ids, "*.png", mots=True),
    "flo": partial(_images, flow_files.read_flow, "*.flo"),
    "depth-mm": partial(_images, depth_images.read_depth, "*.png", scale=depth_images.MILLIMETRES),
    "depth-kitti": partial(_images, depth_images.read_depth, "*.png", scale=depth_images.KITTI),
    "depth-tum": partial(_images, depth_images.read_depth, "*.png", scale=depth_images.TUM),
    "depth-npy": partial(_images, depth_images.read_depth, "*.npy"),
    "matrices": partial(_rows, cameras.read_matrices, (4, 12, 16)),
    "tum": _tum,
    "realestate10k": _realestate,
    "cuts": partial(_cuts, False),
    "cuts-seconds": partial(_cuts, True),
}
