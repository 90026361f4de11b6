"""Boxes in text files: MOTChallenge ground truth, and one object followed through a clip.

Source: Dendorfer et al., "MOTChallenge: A Benchmark for Single-Camera Multiple Target Tracking",
IJCV 2021 (frames and pixels from 1; MOT15 rows of 10 columns, MOT16 to MOT20 rows of 9).
"""

from __future__ import annotations

import configparser
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stpe.errors import TruthError
from stpe.evaluate.labels.context import Context
from stpe.evaluate.truth import Truth, TruthObject

F64 = NDArray[np.float64]

#: What a detector may call the people that MOTChallenge labels.
PEOPLE = frozenset({"person", "pedestrian"})
#: MOT16 to MOT20 classes that look like pedestrians: on a vehicle, static, distractor, reflection.
_LOOKALIKES = (2, 7, 8, 12)


def read_mot(path: Path, rows_N: F64, context: Context) -> Truth:
    """MOTChallenge rows; image size and length from `seqinfo.ini` beside them where it is.

    Raises:
        TruthError: a frame number below 1, no identities, or a box without size.
    """
    if (rows_N[:, 1] < 0).any():
        raise TruthError(f"{path} has detections without identities: give gt.txt, not det.txt")
    if not (rows_N[:, 0] >= 1).all() or not (rows_N[:, 0] % 1 == 0).all():
        raise TruthError(f"{path}: MOT rows begin with a frame number, counted from 1")
    classes = rows_N.shape[1] == 9
    flagged = rows_N.shape[1] > 6
    if classes:
        _check_mot16(path, rows_N)
        context.say("read as MOT16 to MOT20: people are class 1, rows flagged 0 do not count")
    elif flagged:
        context.say("read as MOT: every row is a person, but for rows flagged 0 in column 7")
    else:
        context.say("read as MOT rows of 6: every row is a person")
    found: dict[int, list[TruthObject]] = {}
    for row in rows_N:
        frame = int(row[0]) - 1
        inside = found.setdefault(frame, [])
        if classes and int(row[7]) != 1:
            ignored = int(row[7]) in _LOOKALIKES
            if not ignored:
                continue
        else:
            ignored = False
            if flagged and row[6] == 0:
                continue
        box = _corners(path, row[2:6] - (1, 1, 0, 0))
        inside.append(TruthObject(int(row[1]), "person", box, ignored=ignored))
    # A frame between labelled ones that has no row has nobody in it.
    objects = {i: tuple(found.get(i, ())) for i in range(max(found) + 1)}
    width, height = _picture(path)
    return Truth("mot", path, width, height, objects=objects, labelled=PEOPLE)


def _check_mot16(path: Path, rows_N9: F64) -> None:
    classes, seen = rows_N9[:, 7], rows_N9[:, 8]
    fits = np.isin(rows_N9[:, 6], (0, 1)) & (classes % 1 == 0) & (classes >= 1) & (classes <= 13)
    if not (fits & (seen >= 0) & (seen <= 1)).all():
        raise TruthError(
            f"{path}: 9 columns are a flag 0 or 1, a class 1 to 13 and a visibility 0 to 1 in MOT; "
            "these are of another format"
        )


def _picture(path: Path) -> tuple[int | None, int | None]:
    """The size that seqinfo.ini gives. Its length is not used: cut-down copies keep the old one."""
    for folder in (path.parent, path.parent.parent):
        info = configparser.ConfigParser()
        try:
            if info.read(folder / "seqinfo.ini"):
                part = info["Sequence"]
                return int(part["imWidth"]), int(part["imHeight"])
        except (configparser.Error, KeyError, ValueError) as error:
            raise TruthError(f"{folder / 'seqinfo.ini'} cannot be read ({error})") from None
    return None, None


def read_one_box(path: Path, rows_N4: F64, context: Context) -> Truth:
    """One `x, y, width, height` a frame (OTB, LaSOT); a box without size means not in view."""
    context.say("read as one object, a line a frame: x, y, width, height")
    objects = {
        frame: (TruthObject(1, "object", _corners(path, row)),) if (row[2:] > 0).all() else ()
        for frame, row in enumerate(rows_N4)
    }
    return Truth(
        "one object",
        path,
        frame_count=len(rows_N4),
        objects=objects,
        labelled=frozenset(),
    )


def are_polygons(rows_N8: F64) -> bool:
    """Whether rows are four corners in turn of a convex shape, and do not begin with a count."""
    corners = rows_N8.reshape(-1, 4, 2)
    side = np.roll(corners, -1, axis=1) - corners
    after = np.roll(side, -1, axis=1)
    turn = side[..., 0] * after[..., 1] - side[..., 1] * after[..., 0]
    convex = ((turn > 0).all(axis=1) | (turn < 0).all(axis=1)).mean() >= 0.9
    counted = rows_N8[0, 0] in (0, 1) and (np.diff(rows_N8[:, 0]) >= 0).all()
    return bool(convex and not counted)


def read_polygons(path: Path, rows_N8: F64, context: Context) -> Truth:
    """One four-cornered `x1, y1, ... x4, y4` a frame (VOT), as the box around it."""
    corners = rows_N8.reshape(-1, 4, 2)
    low, high = corners.min(axis=1), corners.max(axis=1)
    context.say("read as one object, four corners a line, as the boxes around them")
    return read_one_box(path, np.concatenate([low, high - low], axis=1), Context())


def _corners(path: Path, box_4: F64) -> tuple[float, float, float, float]:
    x, y, w, h = (float(v) for v in box_4)
    if not np.isfinite(box_4).all() or w <= 0 or h <= 0:
        raise TruthError(f"{path}: a box is {x:g},{y:g},{w:g},{h:g}: width and height are positive")
    return x, y, x + w, y + h
