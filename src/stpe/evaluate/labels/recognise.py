"""Finds out what kind of ground truth a path holds, by content, and reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stpe.errors import TruthError
from stpe.evaluate.labels import boxes, cameras, cuts, depth_images, flow_files, mask_images
from stpe.evaluate.labels.numbers import table_of, text_of
from stpe.evaluate.labels.simulator import read_simulator
from stpe.evaluate.truth import Truth

F64 = NDArray[np.float64]

KINDS = (
    "a simulator's recording or its truth folder, MOT gt.txt or its folder, a folder of masks, "
    ".flo files, 16-bit depth images (with poses), camera poses, a cut list (JSON or CSV), or "
    "one x,y,w,h a line"
)
#: Files looked at in a folder before it is called unknown.
_LOOKED_AT = 4


def read_truth(path: str | Path, size: tuple[int, int] | None = None) -> Truth:
    """The truth at `path`.

    Args:
        path: a file or folder of any kind in KINDS.
        size: (width, height) of the video, for labels that give shares of it.

    Raises:
        TruthError: there is nothing, it is of no known kind, or damaged.
    """
    place = Path(path)
    if place.is_dir():
        found = _folder(place)
    elif place.is_file():
        found = _file(place, size)
    else:
        raise TruthError(f"{path} does not exist: give {KINDS}")
    if found is None:
        raise TruthError(f"{path} is no ground truth that is known here: give {KINDS}")
    return found


def _folder(folder: Path) -> Truth | None:
    for place in (folder, folder / "truth"):
        if (place / "truth.json").is_file():
            return read_simulator(place)
    if (folder / "gt" / "gt.txt").is_file():
        return _file(folder / "gt" / "gt.txt", None)
    for name in (
        "test_annotations.json",
        "transitions.json",
        "groundtruth_rect.txt",
        "groundtruth.txt",
    ):
        if (folder / name).is_file():
            return _file(folder / name, None)
    for place in (folder, *sorted(p for p in folder.iterdir() if p.is_dir())):
        found = _images(folder, place)
        if found is not None:
            return found
    return None


def _images(folder: Path, place: Path) -> Truth | None:
    """Truth in the image-like files that lie directly in `place`."""
    groups: tuple[tuple[str, Callable[[Path], bool], Callable[[Path, list[Path]], Truth]], ...] = (
        ("*.flo", lambda file: True, flow_files.read_flow),
        ("*depth*.png", depth_images.is_depth, depth_images.read_depth),
        ("*.png", depth_images.is_depth, depth_images.read_depth),
        ("*.png", _is_mask, mask_images.read_masks),
    )
    for pattern, fits, read in groups:
        files = sorted(place.glob(pattern))
        if files and all(fits(file) for file in files[:_LOOKED_AT]):
            return read(folder, files)
    return None


def _is_mask(file: Path) -> bool:
    return mask_images.load_mask(file) is not None


def _file(path: Path, size: tuple[int, int] | None) -> Truth | None:
    suffix = path.suffix.lower()
    if suffix == ".flo":
        return flow_files.read_flow(path, [path])
    if suffix in (".png", ".npy"):
        if depth_images.is_depth(path):
            return depth_images.read_depth(path, [path])
        if suffix == ".png" and mask_images.load_mask(path) is not None:
            return mask_images.read_masks(path, [path])
        return None
    if suffix == ".json":
        return _json(path)
    if suffix not in (".txt", ".csv", ""):
        return None
    if cuts.is_scene_csv(path):
        return cuts.read_scene_csv(path)
    if cameras.is_realestate(path):
        if size is None:
            raise TruthError(f"{path} gives shares of the picture: its size must be known")
        return cameras.read_realestate(path, *size)
    rows = table_of(path)
    return None if rows is None else _table(path, rows)


def _json(path: Path) -> Truth | None:
    try:
        document = json.loads(text_of(path))
    except ValueError as error:
        raise TruthError(f"{path} is not JSON ({error})") from None
    if isinstance(document, list) and document and all(isinstance(x, int) for x in document):
        document = {"cuts": document}
    if not isinstance(document, dict):
        return None
    if path.name == "truth.json":
        return read_simulator(path.parent)
    if "transitions" in document or "cuts" in document:
        return cuts.read_cuts_json(path, document)
    if "files" in document:
        return depth_images.read_annotations(path, document)
    return None


def _table(path: Path, rows_N: F64) -> Truth | None:
    columns = rows_N.shape[1]
    if columns in (7, 9, 10) and (rows_N[:, :2] % 1 == 0).all():
        return boxes.read_mot(path, rows_N)
    if columns == 8:
        turns = np.abs(np.linalg.norm(rows_N[:, 4:], axis=1) - 1).max() < 0.01
        return (cameras.read_tum if turns else boxes.read_polygons)(path, rows_N)
    if columns == 1 and (rows_N >= 0).all() and (rows_N % 1 == 0).all():
        return cuts.read_cuts_json(path, {"cuts": rows_N[:, 0].tolist()})
    if columns in (12, 16):
        return cameras.read_matrices(path, rows_N)
    if columns == 4:
        whole = len(rows_N) % 4 == 0 and (rows_N[3::4] == [0, 0, 0, 1]).all()
        return (cameras.read_matrices if whole else boxes.read_one_box)(path, rows_N)
    return None
