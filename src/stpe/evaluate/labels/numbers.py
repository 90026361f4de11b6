"""Numbers in text files, and the order of numbered image files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stpe.errors import TruthError

F64 = NDArray[np.float64]


def text_of(path: Path) -> str:
    """The file's text. Raises TruthError where it is not text or cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TruthError(f"{path} cannot be read as text ({error})") from None


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


def numbered(files: Sequence[Path]) -> dict[int, Path]:
    """Image files by frame index: the first is frame 0, and gaps in their numbers are kept.

    A name's number is its last group of digits. Names without numbers are taken in order.
    """
    ordered = sorted(files)
    groups = [re.findall(r"\d+", path.stem) for path in ordered]
    if not ordered or not all(groups):
        return dict(enumerate(ordered))
    numbers = [int(group[-1]) for group in groups]
    if len(set(numbers)) < len(numbers):
        return dict(enumerate(ordered))
    first = min(numbers)
    return {n - first: path for n, path in sorted(zip(numbers, ordered, strict=True))}
