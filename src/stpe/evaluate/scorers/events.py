"""Events of objects: who started, stopped or collided, and when.

Starting and stopping follow from the true motion of each object, where each state lasts; a
collision is the first contact of two objects after a second without one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from stpe.evaluate.matching import home_of_tracks, need_objects, scenes
from stpe.evaluate.measure import Belief, Measure, NotScoredError, divide
from stpe.evaluate.truth import Truth, TruthEvent
from stpe.evaluate.view import View

#: How far apart in time a true and a found event may be.
TOLERANCE_S = 1.0
#: A motion state counts from this long; contacts this near are one collision.
_LASTS_S, _APART_S = 0.5, 1.0
#: Seconds out of view over which nothing is concluded, of the truth as of the signal.
_GAP_S = 3.0


def score(view: View, truth: Truth) -> list[Measure]:
    """Found events against true ones of the same kind and objects."""
    need_objects(truth)
    view.need("events", "kind", "events")
    view.need("objects", "track_id", "tracks")
    fps = float(view.video["fps"] or 1.0)
    real = [*true_motion_events(truth, fps), *true_collisions(truth, fps)]
    seen = scenes(view, truth)
    homes = home_of_tracks(seen)
    kinds = {"starts", "stops"} | ({"collides"} if truth.contacts is not None else set())
    everything = truth.labelled is None
    found = []
    for row in view.rows("events", ("kind", "frame_index", "track_ids", "confidence")):
        who = tuple(sorted(homes.get(t, 0) for t in row["track_ids"] or ()))
        if row["kind"] in kinds and (everything or 0 not in who):
            event = TruthEvent(row["kind"], row["frame_index"], who)
            found.append((event, row["confidence"]))
    first, last = seen[0].frame, seen[-1].frame
    real = [e for e in real if first < e.frame_index <= last]
    if not real and not found:
        raise NotScoredError("no object starts, stops or collides, and none was said to")
    return _measures(view, real, found, fps)


def _measures(
    view: View, real: list[TruthEvent], found: list[tuple[TruthEvent, float | None]], fps: float
) -> list[Measure]:
    pending = sorted(real, key=lambda e: e.frame_index)
    frames, counts, right = [], [], []
    for event, _ in found:
        near = [
            e
            for e in pending
            if (e.kind, e.identities) == (event.kind, event.identities)
            and abs(e.frame_index - event.frame_index) <= TOLERANCE_S * fps
        ]
        if near:
            pending.remove(min(near, key=lambda e: abs(e.frame_index - event.frame_index)))
        frames.append(event.frame_index)
        counts.append([bool(near), not near, 0])
        right.append(bool(near))
    for event in pending:
        frames.append(event.frame_index)
        counts.append([0, 0, 1])
    parts = np.array(counts, np.float64)
    sure = [c for _, c in found]
    belief = None
    if sure and None not in sure:
        correct = np.array(right, np.float64)
        belief = Belief(np.array(sure, np.float64), correct, "it happened, within a second")
    kinds = sorted({e.kind for e in real} | {e.kind for e, _ in found})
    note = f"{', '.join(kinds)}; within {TOLERANCE_S:g} s, of the right objects"
    blocks, n = view.blocks, len(real)
    precision = blocks.of_sums(frames, parts, lambda s: divide(s[0], s[0] + s[1]))
    recall = blocks.of_sums(frames, parts, lambda s: divide(s[0], s[0] + s[2]))
    f1 = blocks.f1(frames, parts)
    return [
        Measure("events.kind", "F1", "1", "higher", n, "true events", f1, note=note, belief=belief),
        Measure("events.kind", "precision", "1", "higher", len(found), "found events", precision),
        Measure("events.kind", "recall", "1", "higher", n, "true events", recall),
    ]


def true_motion_events(truth: Truth, fps: float) -> Iterator[TruthEvent]:
    """`starts` and `stops` of every object in view, where both states last."""
    states: dict[int, list[tuple[int, bool]]] = defaultdict(list)
    for index, objects in sorted((truth.objects or {}).items()):
        for item in objects:
            if item.moving is not None and not item.ignored:
                states[item.identity].append((index, item.moving))
    for identity, known in states.items():
        runs: list[list[int]] = []  # [state, first frame, last frame]
        for index, moving in known:
            if runs and runs[-1][0] == moving and index - runs[-1][2] <= _GAP_S * fps:
                runs[-1][2] = index
            else:
                runs.append([moving, index, index])
        lasting = [run for run in runs if run[2] - run[1] >= _LASTS_S * fps]
        for before, after in pairwise(lasting):
            if before[0] != after[0] and after[1] - before[2] <= _GAP_S * fps:
                yield TruthEvent("starts" if after[0] else "stops", after[1], (identity,))


def true_collisions(truth: Truth, fps: float) -> Iterator[TruthEvent]:
    """`collides` of every pair of objects, none of them the scene."""
    touched: dict[tuple[int, ...], int] = {}
    for contact in sorted(truth.contacts or (), key=lambda c: c.frame_index):
        pair = tuple(sorted(contact.identities))
        if pair[0] == 0:
            continue
        if contact.frame_index - touched.get(pair, -(10**9)) > _APART_S * fps:
            yield TruthEvent("collides", contact.frame_index, pair)
        touched[pair] = contact.frame_index
