"""Facts that captions state: how many are right, and how many of those worth telling are told."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np

from stpe.evaluate.facts import GROUPS, Judged, Moment, Wanted, judge, wanted
from stpe.evaluate.matching import scenes
from stpe.evaluate.measure import Measure, NotScoredError, Series
from stpe.evaluate.truth import Truth
from stpe.evaluate.view import View

_TITLES = {"camera": "the camera and cuts", "objects": "objects", "log": "the state log"}


def score(view: View, truth: Truth) -> list[Measure]:
    """Precision and recall, of everything and by what the facts are about."""
    view.need("frames", "caption_facts")
    rows = {
        r["frame_index"]: json.loads(r["caption_facts"] or "[]")
        for r in view.rows("frames", ("frame_index", "caption_facts"))
    }
    try:
        by_frame = {s.frame: s for s in scenes(view, truth)}
    except NotScoredError:
        by_frame = {}
    judged: list[tuple[int, Judged]] = []
    worth: list[tuple[int, Wanted]] = []
    for before, frame in pairwise([None, *sorted(rows)]):
        assert frame is not None
        moment = Moment(truth, frame, before, by_frame.get(frame))
        judged += [(frame, j) for j in judge(rows[frame], moment)]
        worth += [(frame, w) for w in wanted(rows[frame], moment)]
    if not judged and not worth:
        raise NotScoredError("the truth decides nothing of what the captions state")
    measures = []
    for group in (None, *GROUPS):
        measures += _precision(view, group, [(f, j) for f, j in judged if group in (None, j.group)])
        measures += _recall(view, group, [(f, w) for f, w in worth if group in (None, w.group)])
    return measures


def _precision(view: View, group: str | None, judged: list[tuple[int, Judged]]) -> list[Measure]:
    moves = [(frame, j) for frame, j in judged if j.still is not None]
    against = group in ("camera", "objects") and bool(moves)
    judged = moves if against else judged
    if not judged:
        return []
    frames = np.array([frame for frame, _ in judged], np.int64)
    right = np.array([j.right for _, j in judged])
    index = np.unique(frames)
    series = Series(index, np.array([1 - right[frames == i].mean() for i in index]), "share wrong")
    # What would be right if every caption said that nothing moves.
    still = np.array([float(bool(j.still)) for _, j in judged])
    measure = Measure(
        "frames.caption_facts",
        "precision" if group is None else f"precision, {_TITLES[group]}",
        "1",
        "higher",
        len(judged),
        "claims",
        view.blocks.mean(frames, right.astype(np.float64)),
        baseline=view.blocks.mean(frames, still) if against else None,
        baseline_name="nothing moves" if against else "",
        note=f"of claims {'about motion ' if against else ''}that the truth decides",
        series=series if group is None else None,
    )
    return [measure]


def _recall(view: View, group: str | None, worth: list[tuple[int, Wanted]]) -> list[Measure]:
    if not worth:
        return []
    frames = np.array([frame for frame, _ in worth], np.int64)
    measure = Measure(
        "frames.caption_facts",
        "recall" if group is None else f"recall, {_TITLES[group]}",
        "1",
        "higher",
        len(worth),
        "facts",
        view.blocks.mean(frames, np.array([float(w.told) for _, w in worth])),
        note="of camera motion, cuts, moving objects, activities, turns and changed counters",
    )
    return [measure]
