"""Numbers in text files, and the order of numbered image files."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stpe.clocks.numbering import base_of
from stpe.errors import TruthError
from stpe.evaluate.labels.context import Context

F64 = NDArray[np.float64]


def text_of(path: Path) -> str:
    """The file's text. Raises TruthError where it is not text or cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TruthError(f"{path} cannot be read as text ({error})") from None


def json_of(path: Path) -> Any:
    """The file's JSON. Raises TruthError where it is none."""
    try:
        return json.loads(text_of(path))
    except (ValueError, RecursionError) as error:
        raise TruthError(f"{path} is not JSON ({error})") from None


def table_of(path: Path) -> F64 | None:
    """Rows of numbers separated by commas, tabs or blanks, `#` lines left out; None if it is not.

    Every row must have as many numbers as the first.
    """
    rows = []
    for line in text_of(path).splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        try:
            rows.append([float(part) for part in re.split(r"[,;\s]+", line.strip(" ,;\t\r"))])
        except ValueError:
            return None
        if len(rows[-1]) != len(rows[0]):
            return None
    return np.array(rows, np.float64) if rows else None


def numbered(
    files: Sequence[Path], context: Context | None = None, whole: bool = False
) -> dict[int, Path]:
    """Image files by frame index, counted from 0; gaps in their numbers are kept.

    A name's number is its last group of digits; `stpe.clocks.numbering` says which frame it means.
    Names without numbers are taken in order.

    Args:
        context: of the video; what was assumed is said there.
        whole: whether it is known otherwise that the first file is the first frame.
    """
    context = context or Context()
    ordered = sorted(files)
    groups = [re.findall(r"\d+", path.stem) for path in ordered]
    numbers = [int(group[-1]) for group in groups if group]
    if not ordered or len(set(numbers)) < len(ordered):
        if len(ordered) > 1:
            context.say("files without a number of their own were taken in order, from frame 0")
        return dict(enumerate(ordered))
    base, said = base_of(numbers, context.frame_count, whole)
    if said:
        context.say(said)
    return {n - base: path for n, path in sorted(zip(numbers, ordered, strict=True))}
