"""Which image each record of an array belongs to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from stpe.errors import SourceError

Record = dict[str, Any]

_NUMBERS = ("frame_idx", "frame_index", "frame_number")


def placed(
    rows: Sequence[Record], images: Sequence[str], name: str, said: list[str]
) -> dict[int, Record]:
    """Records by position of their image: by `filename`, else by number, else in order.

    Args:
        rows: as they came. name: of their file, for messages.
        said: what was assumed or left out is added.

    Raises:
        SourceError: nothing says which image a record belongs to, or none belongs to any.
    """
    by_name: dict[str, int] = {}
    for place, image in enumerate(images):
        by_name[image] = by_name[PurePosixPath(image).name] = by_name[_stem(image)] = place
    numbers = [None if isinstance(r.get("filename"), str) else _number(r) for r in rows]
    place_of = _by_number([n for n in numbers if n is not None], images, name, said)
    found: dict[int, Record] = {}
    twice = lost = 0
    for order, (row, number) in enumerate(zip(rows, numbers, strict=True)):
        file = row.get("filename")
        if isinstance(file, str):
            at = by_name.get(file, by_name.get(_stem(file)))
        elif number is not None:
            at = place_of.get(number)
        elif len(rows) == len(images):
            at = order
        else:
            raise SourceError(
                f"{name} has {len(rows)} records for {len(images)} images; "
                "name each record's image in `filename`"
            )
        lost += at is None
        twice += at in found
        if at is not None:
            found[at] = row
    if rows and not found:
        raise SourceError(f"no record of {name} belongs to any image; correct their `filename`")
    if lost:
        said.append(f"{lost} of {len(rows)} records of {name} belong to no image; left out")
    if twice:
        said.append(f"{twice} records of {name} belong to an image that has one; the last counts")
    return found


def _by_number(
    numbers: Sequence[int], images: Sequence[str], name: str, said: list[str]
) -> Mapping[int, int]:
    """Position by a record's number: as the files are numbered, from 1 where that covers the
    images, else from 0."""
    count = len(images)
    if not numbers:
        return {}
    low, high = min(numbers), max(numbers)
    files = _file_numbers(images)
    base = 0
    if low > 0 and files and set(numbers) <= files.keys():
        if all(files[n] == n for n in numbers):
            return files
        how = "as the images' names are" if min(files) > 1 or high < count else "from 1"
        said.append(f"records of {name} are numbered {how}; number {low} is image {files[low] + 1}")
        return files
    if low > 0 and high - low == count - 1:
        base = low
        said.append(f"records of {name} are numbered from {low}; number {low} is the first image")
    elif low > 0 and high < count:
        said.append(f"records of {name} begin at {low}; they were taken as counted from 0")
    return {n: n - base for n in set(numbers) if 0 <= n - base < count}


def _file_numbers(images: Sequence[str]) -> dict[int, int]:
    """Position by the last number in an image's name; empty where not all have one of their own."""
    found: dict[int, int] = {}
    for at, image in enumerate(images):
        digits = re.findall(r"\d+", PurePosixPath(image).stem)
        if not digits or int(digits[-1]) in found:
            return {}
        found[int(digits[-1])] = at
    return found


def _number(record: Record) -> int | None:
    for key in _NUMBERS:
        value = record.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1:
            return int(value)
    return None


def _stem(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()
