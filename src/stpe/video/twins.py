"""Pictures of one folder that belong to another picture there: masks, depth, a second copy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from stpe.errors import SourceError

#: What is added to a picture's name for what belongs to it, before or behind.
_KINDS = r"(?:masks?|seg|segmentation|semantic|instances?|labels?|gt|depth|disparity|alpha|matte)"
_BESIDE = re.compile(rf"(?P<behind>.+)[ ._-]{_KINDS}|{_KINDS}[ ._-](?P<before>.+)", re.I)
#: Masks are not stored in these, since they change values.
_LOSSY = (".jpg", ".jpeg")


def without_twins(names: Sequence[str]) -> tuple[list[str], str | None]:
    """The names of pictures without those that belong to another of them, and what to say of it.

    `frame_mask.png` belongs to `frame.png`, and `1.png` to `1.jpg`. Raises SourceError where two
    have the same name and neither is known to be the picture.

    >>> without_twins(["1.jpg", "1.png", "2.jpg", "2.png"])[0]
    ['1.jpg', '2.jpg']
    """
    by_stem: dict[str, list[str]] = {}
    for name in names:
        by_stem.setdefault(_stem(name), []).append(name)
    pictures: dict[str, str] = {}
    twins: dict[str, str] = {}
    for stem, same in by_stem.items():
        lossy = [n for n in same if n.lower().endswith(_LOSSY)]
        picture = lossy[0] if len(lossy) == 1 else same[0]
        if len(same) > 1 and len(lossy) != 1:
            raise SourceError(f"{same[0]} and {same[1]} have the same name; keep one of them")
        pictures[stem] = picture
        twins |= {name: picture for name in same if name != picture}
    for stem, name in pictures.items():
        path = PurePosixPath(stem)
        found = _BESIDE.fullmatch(path.name)
        base = found and (found["behind"] or found["before"])
        whose = pictures.get(str(path.with_name(base))) if base else None
        if whose is not None:
            twins[name] = whose
    if not twins:
        return list(names), None
    first = next(iter(twins))
    others = f" and {len(twins) - 1} more" if len(twins) > 1 else ""
    said = f"{first} belongs to {twins[first]} by its name; it{others} was not taken as a frame"
    return [n for n in names if n not in twins], said


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))
