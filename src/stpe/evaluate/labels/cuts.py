"""Lists of changes of shot: JSON with `transitions` or `cuts`, and PySceneDetect's CSV."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stpe.clocks.stamps import stamp_of
from stpe.clocks.units import SECONDS
from stpe.errors import TruthError
from stpe.evaluate.labels.context import Context
from stpe.evaluate.labels.numbers import text_of
from stpe.evaluate.shots import Transition
from stpe.evaluate.truth import Truth

_SECONDS = ("s", "sec", "seconds")
_FIRST = ("first_frame_of_next_shot", "first_black_frame", "first", "frame")


def read_cuts_json(
    path: Path, document: Mapping[str, Any], context: Context, seconds: bool = False
) -> Truth:
    """`{"transitions": [{"first_frame_of_next_shot": 30} or {"first": 209, "last": 240}, ...],
    "frame_index_base": 0, "frames": 250}` or `{"cuts": [30, 76]}`; the last two are optional.

    Seconds since the first frame where `unit` is "seconds", or the list is called `cuts_s`.

    Args:
        seconds: whether somebody said that they are seconds.

    Raises:
        TruthError: an entry has none of these fields, or is no whole number.
    """
    seconds = seconds or "cuts_s" in document or str(document.get("unit", "")) in _SECONDS
    listed = document.get("transitions", document.get("cuts", document.get("cuts_s", ())))
    if seconds:
        return _in_seconds(path, listed, context)
    base = int(document.get("frame_index_base", 0))
    if "frame_index_base" not in document:
        context.say("cuts are frame numbers, counted from 0, of each new shot's first frame")
    found = []
    for entry in listed:
        try:
            if isinstance(entry, Mapping):
                first = next(_frame(entry[name]) for name in _FIRST if entry.get(name) is not None)
                last = _frame(entry.get("last", first))
            else:
                first = last = _frame(entry)
        except (TypeError, ValueError, StopIteration):
            raise TruthError(
                f"{path}: {entry!r} says no frame: give first_frame_of_next_shot, or first and "
                "last, as whole numbers; for seconds say --truth-format cuts-seconds"
            ) from None
        found.append(Transition(first - base, last - base))
    count = document.get("frames")
    return Truth(
        "cuts",
        path,
        frame_count=None if count is None else int(count),
        transitions=tuple(sorted(found, key=lambda t: (t.first, t.last))),
    )


def numbers_of(path: Path, seconds: bool = False) -> list[int | float]:
    """One number a line. Raises TruthError where a line is none, or no frame number."""
    found: list[int | float] = []
    for line in text_of(path).splitlines():
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            found.append(float(text) if seconds else int(text))
        except ValueError:
            raise TruthError(
                f"{path}: {text} is no frame number; for seconds say --truth-format cuts-seconds"
            ) from None
    return found


def _frame(value: Any) -> int:
    """A whole number; 30.0 is none, for it may be seconds. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(value)
    return value


def _in_seconds(path: Path, listed: Any, context: Context) -> Truth:
    """Cuts in seconds since the first frame, at the first frame that is not before each."""
    if context.times is None or not len(context.times):
        raise TruthError(
            f"{path} gives seconds, which need the times of all frames: process the video with "
            "--signals transitions, or give frame numbers"
        )
    stamps = [stamp_of(v, SECONDS).value for v in listed if not isinstance(v, Mapping)]
    if len(stamps) < len(listed) or not all(math.isfinite(s) and s >= 0 for s in stamps):
        raise TruthError(f"{path}: cuts in seconds are a list of numbers")
    times = np.asarray(context.times, np.float64)
    half = float(np.median(np.diff(times))) / 2 if len(times) > 1 else 0.0
    frames = np.searchsorted(times - times[0], np.array(sorted(stamps)) - half)
    if stamps and frames.max() >= len(times):
        raise TruthError(f"{path} has a cut at {max(stamps):g} s, after the video's end")
    context.say("cuts are seconds since the first frame; each is at the frame shown then")
    return Truth(
        "cuts", path, transitions=tuple(Transition(int(n), int(n)) for n in frames if n > 0)
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
