"""A file of presentation times beside images.

`timestamps.txt`, `timestamps.csv` or `times.txt`: a line an image with its time, alone or with the
image's name (either first, comma or blanks between). A line that begins with `#`, and a header, may
name the columns and their unit, as in `#timestamp [ns],filename`; else the unit is told by size.
`timestamps.json`: a list of times, an object from name to time, or a list of records.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any

from stpe.clocks.stamps import Stamp, stamp_in, stamp_of
from stpe.clocks.units import Unit, named_unit, time_field
from stpe.errors import SourceError
from stpe.video.records import parse

NAMES = frozenset(
    ("timestamps.txt", "timestamps.csv", "timestamps.json", "timestamp.txt", "times.txt")
)
_PARTS = re.compile(r"\s*[,;\t]\s*")
_FILES = ("filename", "file", "image", "name", "path")

Pair = tuple[str | None, Stamp]


def read_stamps(data: bytes, name: str, images: Sequence[str]) -> list[Stamp]:
    """The time of each image, in order. Raises SourceError unless every image has one time."""
    if name.endswith(".json"):
        pairs = _from_json(parse(data, name), name)
    else:
        pairs = _from_lines(data, name, images)
    if all(image is None for image, _ in pairs):
        stamps = [stamp for _, stamp in pairs]
        if len(stamps) != len(images):
            raise SourceError(
                f"{name} has {len(stamps)} times for {len(images)} images; one each is needed"
            )
        return stamps
    by_name = {key: stamp for image, stamp in pairs if image for key in _keys(image)}
    found = []
    for image in images:
        stamp = next((by_name[key] for key in _keys(image) if key in by_name), None)
        if stamp is None:
            raise SourceError(
                f"{name} has no time for the image {PurePosixPath(image).name!r}; add it"
            )
        found.append(stamp)
    return found


def _keys(image: str) -> tuple[str, str]:
    """A file's name, with and without its ending."""
    path = PurePosixPath(image.strip())
    numeric = path.suffix[1:].isdigit()  # as in 1305031102.175304
    return path.name, path.name if numeric else path.stem


def _from_lines(data: bytes, name: str, images: Sequence[str]) -> list[Pair]:
    header: list[str] = []
    texts: list[tuple[int, str]] = []
    for number, line in enumerate(data.decode("utf-8-sig", "replace").splitlines(), 1):
        text = line.strip()
        if text.startswith("#"):
            header = header or _named(text.lstrip("# "))
        elif text:
            texts.append((number, text))
    if texts and not any(_is_time(part) for part in (texts[0][1], *_words(texts[0][1]))):
        header = _named(texts.pop(0)[1]) or header
    field = time_field(tuple(header))
    unit = None if field is None else named_unit(field)
    if field is not None and len(header) > 2:
        return [_columns(text, header, field, unit, f"line {n} of {name}") for n, text in texts]
    known = {key for image in images for key in _keys(image)}
    return [_pair(text, unit, known, f"line {n} of {name}") for n, text in texts]


def _named(text: str) -> list[str]:
    """Columns that a header names; where blanks part them, a unit in brackets stays with its
    column."""
    parts = _PARTS.split(text)
    if len(parts) == 1:
        parts = re.sub(r"\s+([\[(])", r"\1", text).split()
    return parts if time_field(tuple(parts)) else []


def _columns(text: str, header: list[str], field: str, unit: Unit | None, where: str) -> Pair:
    """A line of three columns or more, as the header names them."""
    parts = _PARTS.split(text) if _PARTS.search(text) else text.split()
    if len(parts) != len(header):
        raise SourceError(f"{where} has {len(parts)} columns and the header {len(header)}")
    stamp = stamp_of(parts[header.index(field)], unit)
    if not math.isfinite(stamp.value):
        raise SourceError(f"{where} holds {parts[header.index(field)]!r} as a time; correct it")
    image = next((p for h, p in zip(header, parts, strict=True) if h.lower() in _FILES), None)
    return image, stamp


def _pair(text: str, unit: Unit | None, known: Iterable[str], where: str) -> Pair:
    """A line in either order; names may hold blanks if no comma parts them."""
    stamp = stamp_of(text, unit)
    if math.isfinite(stamp.value):
        return None, stamp
    by_comma = _PARTS.split(text)
    found: list[Pair] = []
    for head, tail in (by_comma,) if len(by_comma) == 2 else _halves(text):
        for image, part in ((head, tail), (tail, head)):
            stamp = stamp_of(part, unit)
            if math.isfinite(stamp.value):
                found.append((image, stamp))
    if not found:
        raise SourceError(f"{where} is no time, alone or beside an image's name; correct it")
    # Both may be numbers, such as 00012 and 0.4.
    return next((p for p in found if p[0] and set(_keys(p[0])) & set(known)), found[0])


def _words(text: str) -> list[str]:
    parts = _PARTS.split(text)
    return parts if len(parts) > 1 else [w for h in _halves(text) for w in h]


def _halves(text: str) -> list[list[str]]:
    """The text parted at its first and at its last blank."""
    return [h for h in (text.split(None, 1), text.rsplit(None, 1)) if len(h) == 2]


def _is_time(text: str) -> bool:
    return math.isfinite(stamp_of(text).value)


def _from_json(parsed: Any, name: str) -> list[Pair]:
    listed = parsed if isinstance(parsed, list) else [parsed]
    records = [r for r in listed if isinstance(r, dict) and stamp_in(r) is not None]
    pairs: list[Pair]
    if records and len(records) == len(listed):
        pairs = [(next((r[f] for f in _FILES if f in r), None), _some(r)) for r in records]
    elif isinstance(parsed, dict):
        pairs = [(image, stamp_of(value)) for image, value in parsed.items()]
    else:
        pairs = [(None, stamp_of(value)) for value in listed]
    for number, (image, stamp) in enumerate(pairs, 1):
        if not math.isfinite(stamp.value):
            raise SourceError(f"{name} holds no time for {image or f'image {number}'}; correct it")
    return pairs


def _some(record: dict[str, Any]) -> Stamp:
    found = stamp_in(record)
    assert found is not None
    return found
