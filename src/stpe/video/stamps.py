"""A file of presentation times beside images.

`timestamps.txt`, `timestamps.csv` or `times.txt`: a line an image with its time in seconds, alone
or with the image's name (either first, comma or blanks between); lines that begin with `#` and one
header line are skipped. `timestamps.json`: a list of seconds, or an object from name to seconds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from stpe.errors import SourceError
from stpe.video.records import parse

NAMES = frozenset(("timestamps.txt", "timestamps.csv", "timestamps.json", "times.txt"))


def read_stamps(data: bytes, name: str, images: Sequence[str]) -> list[float]:
    """Seconds for each image, in order. Raises SourceError unless every image has one time."""
    if name.endswith(".json"):
        pairs = _from_json(parse(data, name), name)
    else:
        pairs = _from_lines(data, name)
    if all(image is None for image, _ in pairs):
        stamps = [seconds for _, seconds in pairs]
        if len(stamps) != len(images):
            raise SourceError(
                f"{name} has {len(stamps)} times for {len(images)} images; one each is needed"
            )
        return stamps
    by_name = {PurePosixPath(image).name: seconds for image, seconds in pairs if image}
    try:
        return [by_name[PurePosixPath(image).name] for image in images]
    except KeyError as error:
        raise SourceError(f"{name} has no time for the image {error}; add it") from None


def _from_lines(data: bytes, name: str) -> list[tuple[str | None, float]]:
    pairs: list[tuple[str | None, float]] = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines()):
        fields = [f for f in re.split(r"[,;\s]+", line.strip()) if f]
        if not fields or fields[0].startswith("#"):
            continue
        numbers = [f for f in fields if _number(f) is not None]
        if not numbers and number == 0:
            continue
        if len(fields) > 2 or len(numbers) != 1:
            raise SourceError(f"line {number + 1} of {name} is not a time in seconds; correct it")
        seconds = _number(numbers[0])
        image = next((f for f in fields if f != numbers[0]), None)
        pairs.append((image, float(seconds or 0.0)))
    return pairs


def _from_json(parsed: Any, name: str) -> list[tuple[str | None, float]]:
    items = parsed.items() if isinstance(parsed, dict) else ((None, v) for v in _list(parsed))
    pairs: list[tuple[str | None, float]] = []
    for image, value in items:
        seconds = _number(str(value))
        if seconds is None or isinstance(value, str):
            raise SourceError(f"{name} holds {value!r} where seconds belong; correct it")
        pairs.append((image, seconds))
    return pairs


def _list(parsed: Any) -> list[Any]:
    return parsed if isinstance(parsed, list) else [parsed]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
