"""Lists of changes of shot: JSON with `transitions` or `cuts`, and PySceneDetect's CSV."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stpe.errors import TruthError
from stpe.evaluate.labels.numbers import text_of
from stpe.evaluate.shots import Transition
from stpe.evaluate.truth import Truth

_FIRST = ("first_frame_of_next_shot", "first_black_frame", "first", "frame")


def read_cuts_json(path: Path, document: Mapping[str, Any]) -> Truth:
    """`{"transitions": [{"first_frame_of_next_shot": 30} or {"first": 209, "last": 240}, ...],
    "frame_index_base": 0, "frames": 250}` or `{"cuts": [30, 76]}`; the last two are optional.

    Raises:
        TruthError: an entry has none of these fields.
    """
    base = int(document.get("frame_index_base", 0))
    found = []
    for entry in document.get("transitions", document.get("cuts", ())):
        try:
            if isinstance(entry, Mapping):
                first = next(int(entry[name]) for name in _FIRST if entry.get(name) is not None)
                last = int(entry.get("last", first))
            else:
                first = last = int(entry)
        except (TypeError, ValueError, StopIteration):
            raise TruthError(
                f"{path}: {entry!r} says no frame: give first_frame_of_next_shot, or first and last"
            ) from None
        found.append(Transition(first - base, last - base))
    count = document.get("frames")
    return Truth(
        "cuts",
        path,
        frame_count=None if count is None else int(count),
        transitions=tuple(sorted(found, key=lambda t: (t.first, t.last))),
    )


def is_scene_csv(path: Path) -> bool:
    """Whether a file has the header of a scene list."""
    return _header(text_of(path)) is not None


def read_scene_csv(path: Path) -> Truth:
    """PySceneDetect's scene list ("Start Frame", from 1) or its short form ("frame", from 0).

    Raises:
        TruthError: a scene has no frame number.
    """
    text = text_of(path)
    header = _header(text)
    assert header is not None
    line, column, base = header
    starts = []
    for row in list(csv.reader(text.splitlines()))[line + 1 :]:
        if not row:
            break  # the short form repeats the times as text after a blank line
        try:
            starts.append(round(float(row[column])) - base)
        except (ValueError, IndexError):
            raise TruthError(f"{path}: a scene without a frame number: {','.join(row)}") from None
    cuts = sorted(start for start in starts if start > 0)
    return Truth("cuts", path, transitions=tuple(Transition(cut, cut) for cut in cuts))


def _header(text: str) -> tuple[int, int, int] | None:
    """(line, column of the first frame, number of the first frame)."""
    for line, row in enumerate(csv.reader(text.splitlines()[:2])):
        names = [name.strip().lower() for name in row]
        if "start frame" in names:
            return line, names.index("start frame"), 1
        if names[:1] == ["scene"] and "frame" in names:
            return line, names.index("frame"), 0
    return None
