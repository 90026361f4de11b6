import json

import numpy as np
import pyarrow as pa
import pytest
from pycocotools import mask as coco

from stpe.signals import schema
from stpe.stages.relations import Relations
from stpe.stages.stage import Request, Span, Window
from stpe.video.frame import SourceInfo

SOURCE = SourceInfo("a.mp4", "file", "0" * 64, 640, 480, 30.0, 10.0, 300)
COLUMNS = [c.split(".")[1] for c in (*Relations.reads, *Relations.optional)]


def thing(object_id, box, frame=0, **more):
    return {
        "frame_index": frame,
        "object_id": object_id,
        "pts": frame / 2,
        "box_xyxy": [float(x) for x in box],
        "confidence": 0.9,
        "track_id": object_id + 100,
        **more,
    }


def moving(velocity, std=4.0):
    return {"object_velocity_px_s": velocity, "velocity_std_px_s": std, "motion": "moving"}


STILL = {"object_velocity_px_s": [0.0, 0.0], "velocity_std_px_s": 4.0, "motion": "static"}


def relate(*things, columns=COLUMNS):
    table = pa.Table.from_pylist(list(things), schema("objects", columns))
    window = Window(SOURCE, Span(0, 0.0, 10.0, True), rows={"objects": table})
    out = Relations({}, Request()).process(window).tables["relations"]
    assert out.schema.names == schema("relations").names
    return out.to_pylist()


def kinds(rows):
    return {
        (r["subject_object_id"], r["relation"], r["object_object_id"]): r["confidence"]
        for r in rows
    }


def test_sides_and_contact():
    a, b, c = (0, 0, 40, 40), (50, 5, 90, 45), (52, 60, 88, 100)
    found = kinds(relate(thing(0, a), thing(1, b), thing(2, c)))
    assert found.keys() == {
        (0, "left_of", 1),
        (0, "near", 1),
        (1, "above", 2),
        (1, "near", 2),
    }
    assert found[0, "left_of", 1] > 0.9
    swapped = kinds(relate(thing(1, a), thing(0, b), thing(2, c)))
    assert (1, "left_of", 0) in swapped
    assert (0, "near", 1) in swapped


def test_inside_and_overlapping_are_apart():
    found = kinds(relate(thing(0, (0, 0, 200, 200)), thing(1, (50, 50, 90, 90))))
    assert found.keys() == {(1, "inside", 0)}
    found = kinds(relate(thing(0, (0, 0, 100, 100)), thing(1, (60, 0, 160, 100))))
    assert found.keys() == {(0, "overlapping", 1)}


def test_masks_decide_overlap():
    def rle(x0, x1):
        mask = np.zeros((480, 640), np.uint8, order="F")
        mask[:100, x0:x1] = 1
        found = coco.encode(mask)
        return {"size": found["size"], "counts": found["counts"].decode()}

    apart = kinds(
        relate(
            thing(0, (0, 0, 100, 100), mask_rle=rle(0, 60)),
            thing(1, (60, 0, 160, 100), mask_rle=rle(100, 160)),
        )
    )
    assert (0, "overlapping", 1) not in apart
    assert (0, "near", 1) in apart


def test_front_by_depth_and_by_ground_contact():
    boxes = (0, 0, 100, 100), (60, 0, 160, 140)
    far, near = (
        {"depth": 9.0, "depth_confidence": 0.8},
        {"depth": 3.0, "depth_confidence": 0.9},
    )
    rows = relate(thing(0, boxes[0], **near), thing(1, boxes[1], **far))
    front = next(r for r in rows if r["relation"] == "in_front_of")
    assert (front["subject_object_id"], front["object_object_id"]) == (0, 1)
    assert json.loads(front["evidence"]) == {"far": 9.0, "method": "depth", "near": 3.0}
    assert front["confidence"] > 0.7
    guess = kinds(relate(thing(0, boxes[0]), thing(1, boxes[1])))
    assert 0.2 <= guess[1, "in_front_of", 0] <= 0.4
    weak = {"depth_confidence": 0.2}
    told = kinds(
        relate(thing(0, boxes[0], depth=3.0, **weak), thing(1, boxes[1], depth=9.0, **weak))
    )
    assert not any(kind == "in_front_of" for _, kind, _ in told)


def test_approaching_names_the_mover_and_respects_noise():
    boxes = (0, 0, 40, 40), (140, 0, 180, 40)
    rows = relate(thing(0, boxes[0], **STILL), thing(1, boxes[1], **moving([-50.0, 0.0])))
    row = next(r for r in rows if r["relation"] == "approaching")
    assert (row["subject_track_id"], row["object_track_id"]) == (101, 100)
    evidence = json.loads(row["evidence"])
    assert evidence["closing_px_s"] == pytest.approx(50)
    assert evidence["contact_s"] == pytest.approx(2)
    noisy = relate(thing(0, boxes[0], **STILL), thing(1, boxes[1], **moving([-50.0, 0.0], 40.0)))
    away = relate(thing(0, boxes[0], **STILL), thing(1, boxes[1], **moving([50.0, 0.0])))
    assert not any(r["relation"] == "approaching" for r in [*noisy, *away])


def test_following_is_behind_on_the_same_course():
    boxes = (0, 0, 40, 40), (90, 0, 130, 40)
    found = kinds(
        relate(thing(0, boxes[0], **moving([60.0, 3.0])), thing(1, boxes[1], **moving([55.0, 0.0])))
    )
    assert (0, "following", 1) in found
    assert (0, "approaching", 1) not in found
    back = kinds(
        relate(
            thing(0, boxes[0], **moving([-60.0, 0.0])), thing(1, boxes[1], **moving([-55.0, 0.0]))
        )
    )
    assert (1, "following", 0) in back


def test_a_crowd_stays_sparse_sorted_and_repeatable():
    rng = np.random.default_rng(0)
    things = []
    for frame in range(3):
        for i in range(60):
            x, y = rng.uniform(0, 600), rng.uniform(0, 440)
            things.append(
                thing(i, (x, y, x + 30, y + 30), frame, **moving(list(rng.normal(size=2))))
            )
    rows = relate(*things)
    assert len(rows) < 3 * 32 * 8
    keys = [tuple(r[k] for k in ("frame_index", "subject_object_id")) for r in rows]
    assert keys == sorted(keys)
    unique = {tuple(list(r.values())[:4]) for r in rows}
    assert len(unique) == len(rows)
    assert rows == relate(*things)
    assert all(0 <= r["confidence"] <= 1 for r in rows)


def test_works_with_what_must_be_there_alone():
    rows = relate(
        {"frame_index": 0, "object_id": 0, "pts": 0, "box_xyxy": [0, 0, 9, 9], "confidence": 1},
        {"frame_index": 0, "object_id": 1, "pts": 0, "box_xyxy": [9, 0, 18, 9], "confidence": 1},
        columns=["pts", "box_xyxy", "confidence"],
    )
    assert [r["relation"] for r in rows] == ["left_of", "near"]
    assert rows[0]["subject_track_id"] is None
    assert relate() == []
