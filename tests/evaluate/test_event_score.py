"""Events against true motion and contacts."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from stpe.evaluate.measure import Blocks
from stpe.evaluate.scorers import events
from stpe.evaluate.truth import Contact, Truth, TruthEvent, TruthObject

FPS = 10.0


def _truth(moving, contacts=None):
    """Two objects over len(moving) frames; the first moves as given, the second stands."""
    objects = {
        i: (
            TruthObject(1, "a", (0, 0, 10, 10), moving=m),
            TruthObject(2, "b", (30, 0, 40, 10), moving=False),
        )
        for i, m in enumerate(moving)
    }
    return Truth(
        "simulator", Path("x"), frame_count=len(moving), objects=objects, contacts=contacts
    )


def _view(found, frames):
    """A video whose tracks 11 and 12 lie exactly on the two objects."""
    boxes = {11: [0, 0, 10, 10], 12: [30, 0, 40, 10], 13: [60, 60, 80, 80]}
    common = {"label": "object", "confidence": 1.0, "mask_rle": None}
    objects = [
        {**common, "frame_index": i, "object_id": t, "track_id": t, "box_xyxy": box}
        for i in range(frames)
        for t, box in boxes.items()
    ]
    tables = {"objects": objects, "events": found}
    return SimpleNamespace(
        need=lambda *names: None,
        rows=lambda table, columns: tables[table],
        analysed=range(frames),
        blocks=Blocks.of(frames, frames / FPS),
        video={"fps": FPS},
    )


def _event(kind, frame, *tracks):
    return {"kind": kind, "frame_index": frame, "track_ids": list(tracks), "confidence": 0.8}


def _values(measures):
    import numpy as np

    return {m.metric: m.figure(np.ones(10)) for m in measures}


MOVES = [False] * 20 + [None] * 3 + [True] * 30 + [False] * 2 + [True] * 5 + [False] * 40


def test_lasting_changes_are_events_and_short_ones_are_not():
    assert list(events.true_motion_events(_truth(MOVES), FPS)) == [
        TruthEvent("starts", 23, (1,)),
        TruthEvent("stops", 60, (1,)),
    ]


def test_nothing_is_concluded_over_a_long_absence():
    away = [False] * 20 + [None] * 40 + [True] * 20
    assert not list(events.true_motion_events(_truth(away), FPS))
    # Two glimpses far apart are not a state that lasts.
    glimpses = [False] * 20 + [True] + [None] * 40 + [True] + [False] * 20
    assert not list(events.true_motion_events(_truth(glimpses), FPS))


def test_contacts_are_collisions_once_and_never_with_the_scene():
    touching = [Contact(i, (2, 1)) for i in (5, 6, 7, 30)] + [Contact(9, (0, 1))]
    found = list(events.true_collisions(_truth(MOVES, tuple(touching)), FPS))
    assert found == [TruthEvent("collides", 5, (1, 2)), TruthEvent("collides", 30, (1, 2))]


def test_right_kind_right_object_right_time():
    truth = _truth(MOVES, (Contact(40, (1, 2)),))
    right = [_event("starts", 25, 11), _event("stops", 66, 11), _event("collides", 41, 12, 11)]
    assert _values(events.score(_view(right, 100), truth)) == {"F1": 1, "precision": 1, "recall": 1}
    wrong = [
        _event("starts", 25, 12),  # who
        _event("stops", 80, 11),  # when
        _event("starts", 66, 13),  # scenery does not move
        _event("appears", 3, 11),  # not judged
    ]
    assert _values(events.score(_view([right[0], *wrong], 100), truth)) == {
        "F1": pytest.approx(2 / 7),
        "precision": pytest.approx(1 / 4),
        "recall": pytest.approx(1 / 3),
    }


def test_without_contacts_collisions_are_not_judged():
    found = [_event("starts", 25, 11), _event("stops", 60, 11), _event("collides", 41, 12, 11)]
    assert _values(events.score(_view(found, 100), _truth(MOVES)))["precision"] == 1
