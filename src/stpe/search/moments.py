"""Moments of a dataset, rankings of them, and the choice of hits from rankings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stpe.dataset.reader import Dataset

Scores = NDArray[np.float64]
#: Damping of reciprocal rank fusion (Cormack, Clarke, Buettcher, SIGIR 2009).
_K = 60


@dataclass(frozen=True)
class Hit:
    """One moment that answers a query.

    Attributes:
        video_id, frame_index, pts: where; `pts` in seconds on the video's presentation clock.
        score: larger is better; comparable within one answer only.
        caption: the frame's brief caption, if it has one.
        because: what matched: a sentence, labels, or "image".
    """

    video_id: str
    frame_index: int
    pts: float
    score: float
    caption: str | None
    because: str


@dataclass(frozen=True)
class Moments:
    """The analysis frames of a whole dataset, as parallel lists in stored order."""

    video_ids: list[str]
    frame_indices: list[int]
    pts: list[float]
    captions: list[str | None]

    def __len__(self) -> int:
        return len(self.pts)


def moments(dataset: Dataset) -> Moments:
    """Every analysis frame."""
    rows = dataset.arrow("frames", columns=["video_id", "frame_index", "pts", "caption_brief"])
    return Moments(*(rows[name].to_pylist() for name in rows.column_names))


def fuse(rankings: Sequence[Scores]) -> Scores:
    """Reciprocal rank fusion: scores whose scales differ, joined by rank alone.

    Each ranking gives a score a moment, NaN where it says nothing. Equal scores share a rank.
    """
    fused = np.zeros(len(rankings[0]))
    for scores in rankings:
        said = ~np.isnan(scores)
        if said.any():
            places = np.unique(-scores[said], return_inverse=True)[1]
            fused[said] += 1.0 / (_K + 1 + places)
    return fused


def spread(found: Moments, scores: Scores, limit: int) -> list[int]:
    """Numbers of the best moments, best first, one a run of neighbouring frames.

    A frame next to one that ranks higher belongs to that one's hit. Scores of 0 are no hits.
    """
    visited: set[int] = set()
    chosen: list[int] = []
    for number in np.argsort(-scores, kind="stable").tolist():
        if len(chosen) == limit or scores[number] <= 0:
            break
        near = any(
            n in visited and found.video_ids[n] == found.video_ids[number]
            for n in (number - 1, number + 1)
        )
        visited.add(number)
        if not near:
            chosen.append(number)
    return chosen
