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
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        pair = _pair(text)
        if pair is not None:
            pairs.append(pair)
        elif number > 0:
            raise SourceError(f"line {number + 1} of {name} is not a time in seconds; correct it")
    return pairs


def _pair(text: str) -> tuple[str | None, float] | None:
    """(image, seconds) of a line in either order; names may hold blanks if no comma parts them."""
    seconds = _number(text)
    if seconds is not None:
        return None, seconds
    by_comma = re.split(r"\s*[,;]\s*", text)
    for head, tail in (by_comma,) if len(by_comma) == 2 else _halves(text):
        for image, stamp in ((head, _number(tail)), (tail, _number(head))):
            if stamp is not None:
                return image, stamp
    return None


def _halves(text: str) -> list[list[str]]:
    """The text parted at its first and at its last blank."""
    return [h for h in (text.split(None, 1), text.rsplit(None, 1)) if len(h) == 2]


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
