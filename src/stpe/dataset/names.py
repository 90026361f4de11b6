"""Videos by their ids, or the begins of these."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Protocol

from stpe.errors import UsageError


class Holder(Protocol):
    """What holds videos: a dataset, or its writer."""

    @property
    def path(self) -> Path:
        """Its folder."""

    @property
    def videos(self) -> Collection[str]:
        """Ids of all videos, in order."""


def named(holder: Holder, given: Iterable[str]) -> tuple[str, ...]:
    """The videos whose ids are given or begin so, in the dataset's order.

    Raises UsageError where none or several begin like one that is given.
    """
    found = set()
    for name in given:
        fits = [video_id for video_id in holder.videos if video_id.startswith(name)]
        if len(fits) != 1:
            what = "several videos begin" if fits else "no video begins"
            raise UsageError(f"{what} with {name!r} in {holder.path}: `stpe ls` lists them")
        found.add(fits[0])
    return tuple(video_id for video_id in holder.videos if video_id in found)
