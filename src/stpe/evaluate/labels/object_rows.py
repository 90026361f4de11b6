"""Boxes with classes, a row an object: MOT rows of 8, VisDrone, KITTI tracking, named columns.

Sources: Zhu et al., "Detection and Tracking Meet Drones Challenge", TPAMI 2021 (10 columns, frames
from 1); Geiger et al., "Are we ready for Autonomous Driving?", CVPR 2012 (17 columns, frames from
0); Milan et al., "MOT16: A Benchmark for Multi-Object Tracking", 2016 (its classes).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stpe.errors import TruthError
from stpe.evaluate.labels.boxes import PEOPLE
from stpe.evaluate.labels.context import Context
from stpe.evaluate.labels.numbers import text_of
from stpe.evaluate.truth import Truth, TruthObject

F64 = NDArray[np.float64]

_VISDRONE = (None, "person", "person", "bicycle", "car", "van", "truck", "tricycle", "tricycle",
             "bus", "motorcycle", "other")  # fmt: skip
_MOT16 = (None, "person", "person", "car", "bicycle", "motorcycle", "vehicle", "person", None, None,
          None, None, None, None)  # fmt: skip
_KITTI = {"car": "car", "van": "van", "truck": "truck", "pedestrian": "person",
          "person_sitting": "person", "person": "person"}  # fmt: skip
#: KITTI's classes of which a detector's boxes have another extent, or none to compare with.
_KITTI_IGNORED = frozenset(("cyclist", "tram", "misc", "dontcare"))

#: Names of columns, in the field's words.
_COLUMNS = {
    "frame": ("frame", "frame_id", "frame_index", "frame_idx", "frame_number", "image_id"),
    "identity": ("id", "track_id", "object_id", "target_id", "obj_id", "identity"),
    "x": ("x", "left", "bb_left", "bbox_left", "xmin", "x1", "bbox_x", "x_min"),
    "y": ("y", "top", "bb_top", "bbox_top", "ymin", "y1", "bbox_y", "y_min"),
    "w": ("w", "width", "bb_width", "bbox_width", "bbox_w"),
    "h": ("h", "height", "bb_height", "bbox_height", "bbox_h"),
    "right": ("right", "xmax", "x2", "bb_right", "bbox_right", "x_max"),
    "bottom": ("bottom", "ymax", "y2", "bb_bottom", "bbox_bottom", "y_max"),
    "label": ("class", "label", "category", "class_name", "category_name", "type",
              "object_category"),
}  # fmt: skip
_FIELD = {name: field for field, names in _COLUMNS.items() for name in names}


@dataclass(frozen=True, slots=True)
class _Item:
    frame: int
    item: TruthObject


def read_mot8(path: Path, rows_N8: F64, context: Context) -> Truth:
    """Rows `frame, id, x, y, w, h, score, class`, frames and pixels from 1, classes as MOT16's."""
    _whole(path, rows_N8, (0, 1, 7))
    items = []
    for row in rows_N8:
        label = _named(path, _MOT16, int(row[7]))
        if row[6] == 0:
            continue
        box = _box(path, *(row[2:6] - (1, 1, 0, 0)))
        items.append(_Item(int(row[0]) - 1, _object(int(row[1]), label, box)))
    context.say("read as MOT rows of 8: frame, id, x, y, w, h, score, class of MOT16; from 1")
    return _truth("mot-8", path, items)


def read_visdrone(path: Path, rows_N10: F64, context: Context) -> Truth:
    """Rows `frame, id, x, y, w, h, score, category, truncation, occlusion`, frames from 1."""
    _whole(path, rows_N10, (0, 1, 7))
    items = []
    for row in rows_N10:
        label = _named(path, _VISDRONE, int(row[7]))
        ignored = row[6] == 0 or label is None
        item = _object(int(row[1]), label, _box(path, *row[2:6]), bool(ignored))
        items.append(_Item(int(row[0]) - 1, item))
    context.say("read as VisDrone: column 8 is a category, such as 1 pedestrian and 4 car")
    return _truth("visdrone", path, items, frozenset(n for n in _VISDRONE if n))


def is_kitti(path: Path) -> bool:
    """Whether every line has 17 or 18 parts, the third a class of KITTI's."""
    lines = [line.split() for line in text_of(path).splitlines() if line.strip()]
    known = {*_KITTI, *_KITTI_IGNORED}
    return bool(lines) and all(len(p) in (17, 18) and p[2].lower() in known for p in lines)


def read_kitti(path: Path, context: Context) -> Truth:
    """KITTI tracking: `frame id type truncated occluded alpha left top right bottom ...`."""
    if not is_kitti(path):
        raise TruthError(f"{path} is not KITTI tracking: 17 columns, the third a class")
    items = []
    regions = 0
    for line in text_of(path).splitlines():
        if not line.strip():
            continue
        parts = line.split()
        kind = parts[2].lower()
        left, top, right, bottom = (float(v) for v in parts[6:10])
        identity = int(parts[1])
        if identity < 0:  # regions that nobody labelled have no identity
            regions += 1
            identity = 1_000_000 + regions
        box = _box(path, left, top, right - left, bottom - top)
        item = _object(identity, _KITTI.get(kind), box, kind in _KITTI_IGNORED)
        items.append(_Item(int(parts[0]), item))
    context.say("read as KITTI tracking: frames from 0; DontCare, Cyclist, Tram and Misc ignored")
    return _truth("kitti", path, items, frozenset(_KITTI.values()))


def header_of(path: Path) -> dict[str, int] | None:
    """Columns by what they hold, where the first line names a frame, an identity and a box."""
    first = text_of(path).lstrip("#").partition("\n")[0]
    names = [n.strip().strip("#").strip().lower().replace(" ", "_") for n in _split(first)]
    found: dict[str, int] = {}
    for at, name in enumerate(names):
        if name in _FIELD:
            found.setdefault(_FIELD[name], at)
    sized = {"w", "h"} <= found.keys() or {"right", "bottom"} <= found.keys()
    return found if sized and {"frame", "identity", "x", "y"} <= found.keys() else None


def read_named(path: Path, columns: dict[str, int], context: Context) -> Truth:
    """A CSV whose header names the columns; boxes are in pixels from 0."""
    lines = [line for line in text_of(path).splitlines()[1:] if line.strip()]
    items = []
    for number, line in enumerate(lines, 2):
        parts = _split(line)
        try:
            frame, identity, x, y = (
                float(parts[columns[n]]) for n in ("frame", "identity", "x", "y")
            )
            if "w" in columns and "h" in columns:
                width, height = float(parts[columns["w"]]), float(parts[columns["h"]])
            else:
                width = float(parts[columns["right"]]) - x
                height = float(parts[columns["bottom"]]) - y
        except (ValueError, IndexError):
            raise TruthError(f"{path}: line {number} does not fit its header: {line}") from None
        if frame % 1 or identity % 1:
            raise TruthError(f"{path}: line {number} has a frame or id that is no whole number")
        label = parts[columns["label"]].strip().lower() if "label" in columns else None
        if label is not None and re.fullmatch(r"-?\d+(\.\d+)?", label):
            raise TruthError(
                f"{path}: its classes are numbers ({label}), and nothing says what they mean; "
                "write their names"
            )
        box = _box(path, x, y, width, height)
        items.append(_Item(int(frame), TruthObject(int(identity), label or "object", box)))
    if not items:
        raise TruthError(f"{path} has a header and no row")
    base = 1 if min(i.frame for i in items) == 1 else 0
    items = [_Item(i.frame - base, i.item) for i in items]
    context.say(f"read as boxes by the names in its header, frames counted from {base}")
    if base:
        context.say("its first frame is 1, which was taken for the first of the video")
    labelled = frozenset(i.item.label for i in items) if "label" in columns else frozenset()
    return _truth("boxes", path, items, labelled)


def _split(line: str) -> list[str]:
    separator = next((s for s in ",;\t" if s in line), None)
    return line.split() if separator is None else next(csv.reader([line], delimiter=separator))


def _named(path: Path, names: tuple[str | None, ...], number: int) -> str | None:
    if not 0 <= number < len(names):
        raise TruthError(f"{path}: {number} is no class of its format, which has {len(names) - 1}")
    return names[number]


def _object(
    identity: int, label: str | None, box: tuple[float, float, float, float], ignored: bool = False
) -> TruthObject:
    """Without a label nothing is asked for there, and nothing found is wrong."""
    return TruthObject(identity, label or "ignored", box, ignored=ignored or label is None)


def _whole(path: Path, rows: F64, columns: Iterable[int]) -> None:
    for column in columns:
        if (rows[:, column] % 1 != 0).any():
            raise TruthError(f"{path}: column {column + 1} holds whole numbers in this format")
    if not (rows[:, 0] >= 1).all():
        raise TruthError(f"{path}: rows begin with a frame number, counted from 1")


def _box(
    path: Path, x: float, y: float, width: float, height: float
) -> tuple[float, float, float, float]:
    if not np.isfinite([x, y, width, height]).all() or width <= 0 or height <= 0:
        raise TruthError(
            f"{path}: a box is {x:g},{y:g},{width:g},{height:g}: width and height are positive"
        )
    return float(x), float(y), float(x + width), float(y + height)


def _truth(
    kind: str, path: Path, items: list[_Item], labelled: frozenset[str] | None = None
) -> Truth:
    if any(i.frame < 0 for i in items):
        raise TruthError(f"{path}: a frame number is negative")
    by_frame: dict[int, list[TruthObject]] = {}
    for each in items:
        by_frame.setdefault(each.frame, []).append(each.item)
    objects = {i: tuple(by_frame.get(i, ())) for i in range(max(by_frame, default=-1) + 1)}
    if labelled is None:
        labelled = frozenset(i.item.label for i in items if not i.item.ignored)
    if labelled & PEOPLE:
        labelled |= PEOPLE
    return Truth(kind, path, objects=objects, labelled=labelled)
