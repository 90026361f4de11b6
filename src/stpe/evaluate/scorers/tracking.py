"""Identities: HOTA, MOTA and IDF1, over the video and where chunks meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from stpe.evaluate.matching import Scene, home_of_tracks, need_objects, scenes
from stpe.evaluate.measure import Belief, Measure, NotScoredError, Series
from stpe.evaluate.overlap import box_iou
from stpe.evaluate.tracking import FramePair, TrackingScore, score_sums, tracking_parts
from stpe.evaluate.truth import Truth
from stpe.evaluate.view import View

F64 = NDArray[np.float64]

#: Frames this near to where two chunks meet, in seconds, are judged once more by themselves.
BORDER_S = 1.0
_NAMES: tuple[tuple[str, Callable[[TrackingScore], float]], ...] = (
    ("HOTA", lambda s: s.hota),
    ("DetA", lambda s: s.deta),
    ("AssA", lambda s: s.assa),
    ("MOTA", lambda s: s.mota),
    ("IDF1", lambda s: s.idf1),
)


def score(view: View, truth: Truth) -> list[Measure]:
    """Tracks against true identities, by overlap of boxes as MOTChallenge does."""
    need_objects(truth)
    view.need("objects", "track_id", "tracks")
    if not truth.instances:
        raise NotScoredError("the truth does not tell objects apart")
    if truth.labelled == frozenset():
        raise NotScoredError("the truth follows some objects only: see the masks and the boxes")
    seen = scenes(view, truth, boxes_only=True)
    if not any(scene.truths for scene in seen):
        raise NotScoredError("no labelled object is large enough to be asked for")
    everywhere = _measures(view, seen, [pair(scene, 0) for scene in seen], _NAMES, "")
    try:
        borders = view.chunk_borders_s
    except NotScoredError:
        borders = ()
    near = _near(view, seen, borders)
    if any(scene.truths for scene, _ in near):
        windows = [pair(scene, window) for scene, window in near]
        at_borders = [scene for scene, _ in near]
        names = (_NAMES[0], _NAMES[2], _NAMES[4])
        everywhere += _measures(view, at_borders, windows, names, " at chunk borders")
    return everywhere


def _measures(
    view: View,
    seen: Sequence[Scene],
    pairs: Sequence[FramePair],
    names: Sequence[tuple[str, Callable[[TrackingScore], float]]],
    where: str,
) -> list[Measure]:
    frames = np.array([scene.frame for scene in seen], np.int64)
    parts = tracking_parts(pairs)
    table = parts.table()
    truths = int(parts.truths_F.sum())

    def form(read: Callable[[TrackingScore], float]) -> Callable[[F64], float]:
        # A resample without any true box says nothing of identities.
        return lambda s: float("nan") if s[-2] <= 0 else read(score_sums(s))

    wrong = parts.misses_F + parts.false_F + parts.switches_F
    series = Series(frames, wrong / np.maximum(parts.truths_F, 1), "errors / true object")
    note = f"frames within {BORDER_S:g} s, each border by itself" if where else ""
    return [
        Measure(
            "objects.track_id",
            name + where,
            "1",
            "higher",
            truths,
            "true boxes",
            view.blocks.of_sums(frames, table, form(read)),
            note=note,
            series=series if name == "HOTA" and not where else None,
            belief=_belief(seen) if name == "AssA" and not where else None,
        )
        for name, read in names
    ]


def pair(scene: Scene, window: int) -> FramePair:
    """True and tracked boxes of one frame; identities of different windows are different ones."""
    tracked = [row for row in scene.found if row["track_id"] is not None]
    true = np.array([t.identity for t in scene.truths], np.int64)
    found = np.array([row["track_id"] for row in tracked], np.int64)
    shift = window * (1 << 40)
    overlap = box_iou(
        np.array([t.box_xyxy for t in scene.truths]).reshape(-1, 4),
        np.array([row["box_xyxy"] for row in tracked]).reshape(-1, 4),
    )
    _, first = np.unique(found, return_index=True)
    keep = np.sort(first)  # one box an identity, the surer one
    return FramePair(true + shift, found[keep] + shift, overlap[:, keep])


def _near(view: View, seen: list[Scene], borders_s: tuple[float, ...]) -> list[tuple[Scene, int]]:
    """(scene, number of its border) of the frames near one."""
    if not borders_s:
        return []
    borders = np.array(borders_s)
    found = []
    for scene in seen:
        gap = np.abs(borders - view.times[scene.frame])
        if gap.min() <= BORDER_S:
            found.append((scene, int(gap.argmin())))
    return found


def _belief(seen: Sequence[Scene]) -> Belief | None:
    """Trust in a track against whether it is on the object it is on most of the time."""
    home = home_of_tracks(seen)
    on = [
        (row["track_id"], true.identity, row["track_confidence"])
        for scene in seen
        for true, row, _ in scene.pairs()
        if row["track_id"] is not None
    ]
    known = [(home[t] == i, c) for t, i, c in on if c is not None]
    if not known:
        return None
    right, confidence = (np.array(v, np.float64) for v in zip(*known, strict=True))
    return Belief(confidence, right, "the track is on the object it is mostly on")
