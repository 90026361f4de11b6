"""Which part of a dataset an export writes: which videos, from when to when, how many frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from stpe.dataset.reader import Dataset
from stpe.errors import UsageError
from stpe.video.selection import Selection

#: Frames may lie this much closer together than the rate that was asked for.
_TOLERANCE = 1.05


@dataclass(frozen=True)
class Part:
    """A choice of what to export.

    Attributes:
        videos: ids, in the dataset's order; None for all.
        since_s, until_s: presentation times in seconds, the second exclusive; None for no limit.
        fps: at most so many frames a second, those nearest to a regular grid; None for all.
    """

    videos: tuple[str, ...] | None = None
    since_s: float | None = None
    until_s: float | None = None
    fps: float | None = None

    def __post_init__(self) -> None:
        if self.fps is not None and not 0 < self.fps < np.inf:
            raise UsageError(f"--fps {self.fps:g}: give a rate above 0")
        since, until = self.since_s, self.until_s
        for option, time_s in (("--since", since), ("--until", until)):
            if time_s is not None and np.isnan(time_s):
                raise UsageError(f"{option} nan: give seconds on the video's clock")
        if since is not None and until is not None and not since < until:
            raise UsageError(
                f"--until {until:g} is not after --since {since:g}: nothing is between"
            )

    def of(self, dataset: Dataset) -> tuple[str, ...]:
        """The chosen videos of a dataset."""
        return dataset.videos if self.videos is None else self.videos

    def thinned(self, times_s: Sequence[float]) -> list[int]:
        """Places of the times that `fps` leaves, of ascending ones.

        Raises UsageError where there are fewer than that in a second anyway.
        """
        if self.fps is None or len(times_s) < 2:
            return list(range(len(times_s)))
        most = 1 / min(b - a for a, b in pairwise(times_s))
        if self.fps > most * _TOLERANCE:
            raise UsageError(
                f"--fps {self.fps:g}: at most {most:.3g} frames a second were analysed; process "
                "the source again with a higher --fps, or export `video`, which has every frame"
            )
        selection = Selection(self.fps)
        following = [*times_s[1:], None]
        return [
            n
            for n, (now, then) in enumerate(zip(times_s, following, strict=True))
            if selection.selects(now, then)
        ]


#: Everything.
WHOLE = Part()
