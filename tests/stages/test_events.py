import itertools
import json

import pyarrow as pa
import pytest

from stpe.signals import schema
from stpe.stages.events import Events
from stpe.stages.relations import Relations
from stpe.stages.stage import Request, Span, Window
from stpe.video.frame import SourceInfo

SOURCE = SourceInfo("a.mp4", "file", "0" * 64, 640, 480, 30.0, 10.0, 300)


def columns(stage, table):
    names = (*stage.reads, *stage.optional)
    return [n.split(".")[1] for n in names if n.startswith(table + ".")]


def window(stage, **tables):
    rows = {
        name: pa.Table.from_pylist(list(found), schema(name, columns(stage, name)))
        for name, found in tables.items()
    }
    return Window(SOURCE, Span(0, 0.0, 10.0, True), rows=rows)


def frames(count, **more):
    return [
        {
            "frame_index": 15 * i,
            "pts": i / 2,
            "shot_id": 0,
            **{name: values[i] for name, values in more.items()},
        }
        for i in range(count)
    ]


def seen(track_id, boxes, first=0, motion=None, velocity=None, **more):
    """Observations of a track in consecutive frames of the 2-per-second grid."""
    return [
        {
            "frame_index": 15 * (first + i),
            "object_id": track_id,
            "pts": (first + i) / 2,
            "track_id": track_id,
            "confidence": 0.9,
            "box_xyxy": [float(x) for x in box],
            "motion": motion[i] if motion else "static",
            "motion_confidence": 0.9,
            "object_velocity_px_s": velocity[i] if velocity else [0.0, 0.0],
            "velocity_std_px_s": 3.0,
            **more,
        }
        for i, box in enumerate(boxes)
    ]


def events(**tables):
    out = Events({}, Request()).process(window(Events, **tables)).tables["events"]
    assert out.schema.names == schema("events").names
    rows = out.to_pylist()
    assert [r["event_id"] for r in rows] == list(range(len(rows)))
    assert [r["pts"] for r in rows] == sorted(r["pts"] for r in rows)
    assert all(0 <= r["confidence"] <= 1 for r in rows)
    return rows


def track(track_id, label="person"):
    return {"track_id": track_id, "label": label, "confidence": 0.8}


def test_appears_and_disappears_inside_a_shot_only():
    box = (300, 200, 340, 260)
    rows = events(
        frames=frames(10),
        tracks=[track(1), track(2, "dog"), track(3)],
        objects=[
            *seen(1, [box] * 10),  # there all the time: nothing happens
            *seen(2, [(0, 200, 40, 260)] * 4, first=3),
            *seen(3, [box] * 2, first=5),  # too short to be believed
        ],
    )
    assert [(r["kind"], r["pts"], r["track_ids"]) for r in rows] == [
        ("appears", 1.5, [2]),
        ("disappears", 3.5, [2]),
    ]
    assert rows[0]["description"] == "A dog (#2) comes in from the left edge."
    assert rows[1]["description"] == "Dog #2 leaves by the left edge."
    shots = [0] * 3 + [1] * 7
    cut = events(
        frames=frames(10) and [{**f, "shot_id": s} for f, s in zip(frames(10), shots, strict=True)],
        shots=[
            {
                "shot_id": 0,
                "start_frame": 0,
                "start_pts": 0.0,
                "transition": "start",
                "confidence": 1,
            },
            {
                "shot_id": 1,
                "start_frame": 45,
                "start_pts": 1.5,
                "transition": "cut",
                "confidence": 0.97,
            },
        ],
        tracks=[track(2)],
        objects=seen(2, [box] * 7, first=3),
    )
    assert [(r["kind"], r["description"]) for r in cut] == [("cut", "Shot 1 begins with a cut.")]


@pytest.mark.parametrize(("start", "seen"), [(45, 45), (46, 60), (59, 60), (140, 135)])
def test_a_cut_is_first_seen_in_an_analysis_frame(start, seen):
    shot = {"shot_id": 1, "start_frame": start, "start_pts": start / 30, "confidence": 0.9}
    (row,) = events(frames=frames(10), shots=[{**shot, "transition": "cut"}])
    assert (row["frame_index"], row["pts"]) == (seen, start / 30)


@pytest.mark.parametrize(("unmeasured", "told"), [(5, True), (7, False)])
def test_no_camera_start_across_a_long_gap(unmeasured, told):
    words = ["static"] * 3 + [None] * unmeasured + ["pan_left"] * 2
    rows = events(frames=frames(len(words), camera_motion=words))
    assert bool(rows) is told


def test_starts_and_stops_ignore_flicker():
    box = (300, 200, 340, 260)
    words = (
        ["static"] * 3
        + ["moving"]
        + ["static"] * 2
        + ["moving"] * 4
        + ["unknown", "static", "static"]
    )
    velocity = [[60.0, 0.0] if w == "moving" else [0.5, 0.0] for w in words]
    rows = events(
        frames=frames(13),
        tracks=[track(1)],
        objects=seen(1, [box] * 13, motion=words, velocity=velocity),
    )
    assert [(r["kind"], r["pts"]) for r in rows] == [("starts", 3.0), ("stops", 5.5)]
    assert rows[0]["description"] == "Person #1 starts moving right at 60 px/s."
    assert rows[1]["description"] == "Person #1 stops after moving right at 60 px/s."
    assert json.loads(rows[0]["evidence"])["speed_before_px_s"] == 0.5


def test_accelerates_well_above_noise_once():
    box = (300, 200, 340, 260)
    speeds = [20, 21, 19, 20, 80, 82, 81, 80]
    rows = events(
        frames=frames(8),
        tracks=[track(1)],
        objects=seen(
            1, [box] * 8, motion=["moving"] * 8, velocity=[[float(v), 0.0] for v in speeds]
        ),
    )
    assert [(r["kind"], r["pts"]) for r in rows] == [("accelerates", 2.0)]
    assert "from 20 to 80 px/s" in rows[0]["description"]
    slight = [20, 21, 19, 20, 28, 29, 28, 29]
    assert not events(
        frames=frames(8),
        tracks=[track(1)],
        objects=seen(
            1, [box] * 8, motion=["moving"] * 8, velocity=[[float(v), 0.0] for v in slight]
        ),
    )


@pytest.mark.parametrize("stops", [True, False])
def test_collides_when_contact_takes_the_speed(stops):
    left = [(20 * i, 200, 20 * i + 60, 260) for i in range(8)]
    left = [*left[:6], left[5], left[5]] if stops else left
    speed = [[40.0, 0.0]] * 5 + [[0.0, 0.0] if stops else [40.0, 0.0]] * 3
    words = ["moving"] * 5 + ["static" if stops else "moving"] * 3
    wall = [(160, 200, 220, 260)] * 8
    objects = sorted(
        [*seen(1, left, motion=words, velocity=speed), *seen(2, wall)],
        key=lambda r: (r["frame_index"], r["object_id"]),
    )
    tables = Relations({}, Request()).process(window(Relations, objects=objects)).tables
    rows = events(
        frames=frames(8),
        tracks=[track(1), track(2, "car")],
        objects=objects,
        relations=tables["relations"].to_pylist(),
    )
    hits = [r for r in rows if r["kind"] == "collides"]
    if not stops:
        assert not hits
        return
    (hit,) = hits
    assert hit["track_ids"] == [1, 2]
    assert hit["pts"] == 2.5
    assert hit["confidence"] <= 0.5
    assert hit["description"].startswith("Person #1 runs into car #2: they closed in at 40 px/s")


def _meeting(steps, others=None, depths=(None, None)):
    """Events of a person that walks right, its left sides given, and a car in its way."""
    left = [(x, 200, x + 60, 260) for x in steps]
    wall = [(x, 200, x + 60, 260) for x in others or [160] * len(steps)]
    made = []
    for number, (boxes, depth) in enumerate(zip((left, wall), depths, strict=True), 1):
        speed = [[2.0 * (b[0] - a[0]), 0.0] for a, b in itertools.pairwise(boxes)]
        speed.append(speed[-1])
        words = ["moving" if abs(v[0]) > 1 else "static" for v in speed]
        far = {} if depth is None else {"depth": depth, "depth_confidence": 0.9}
        made += seen(number, boxes, motion=words, velocity=speed, **far)
    objects = sorted(made, key=lambda r: (r["frame_index"], r["object_id"]))
    tables = Relations({}, Request()).process(window(Relations, objects=objects)).tables
    rows = events(
        frames=frames(len(steps)),
        tracks=[track(1), track(2, "car")],
        objects=objects,
        relations=tables["relations"].to_pylist(),
    )
    return [r for r in rows if r["kind"] == "collides"]


def test_what_crosses_in_the_picture_does_not_collide():
    past = [20 * i for i in range(20)]
    assert not _meeting(past)
    assert not _meeting([60 * i for i in range(8)])  # in two steps
    assert not _meeting(past, depths=(3.0, 9.0))
    stops = [*past[:6], *[100] * 6]
    assert not _meeting(stops, depths=(3.0, 9.0))
    before = [*past[:8], *[140] * 6]  # comes to rest before it, in the picture
    assert not _meeting(before)


def test_a_contact_is_surer_with_depth_or_a_push():
    stops = [*[20 * i for i in range(6)], *[100] * 6]
    (seen_only,), (deep,) = _meeting(stops), _meeting(stops, depths=(4.0, 4.2))
    pushed = [*[160] * 6, *[160 + 15 * i for i in range(1, 7)]]
    (hit,) = _meeting([*[20 * i for i in range(6)], *[100 + 4 * i for i in range(6)]], pushed)
    assert seen_only["confidence"] < hit["confidence"] < deep["confidence"] < 0.75


def test_starts_are_as_sure_as_the_speeds():
    box = (300, 200, 340, 260)

    def sure(speed, noise, still=3):
        words = ["static"] * still + ["moving"] * 4
        velocity = [[0.5, 0.0]] * still + [[speed, 0.0]] * 4
        rows = events(
            frames=frames(len(words)),
            tracks=[track(1)],
            objects=seen(
                1,
                [box] * len(words),
                motion=words,
                velocity=velocity,
                velocity_std_px_s=noise,
            ),
        )
        (start,) = [r for r in rows if r["kind"] == "starts"]
        return start["confidence"]

    assert sure(60.0, 3.0) < 0.95
    assert sure(6.0, 6.0) < sure(9.0, 6.0) < sure(60.0, 3.0)
    assert sure(6.0, 6.0) < 0.65
    assert sure(60.0, 3.0, still=2) < sure(60.0, 3.0)


def test_camera_starts_and_stops_with_hysteresis():
    words = [
        "static",
        "static",
        "pan_left",
        "static",
        "static",
        "zoom_in",
        "zoom_in",
        None,
        "static",
    ]
    words += ["static", "cut", "pan_left", "pan_left"]
    rows = events(frames=frames(13, camera_motion=words, camera_confidence=[0.8] * 13))
    assert [(r["kind"], r["pts"], r["description"]) for r in rows] == [
        ("camera_starts", 2.5, "The camera starts to zoom in."),
        ("camera_stops", 4.0, "The camera comes to rest."),
    ]


def test_state_transitions_of_the_real_roblox_log(shared_data):
    path = shared_data / "prototype_outputs" / "roblox_walking_analysis.json"
    log = json.loads(path.read_text())["frames"]
    rows = events(
        frames=[
            {
                "frame_index": f["frame_idx"],
                "pts": f["timestamp"],
                "state": json.dumps(f["roblox_metadata"]),
                "alignment": "frame",
            }
            for f in log
        ]
    )
    assert [(r["kind"], r["frame_index"], r["description"]) for r in rows] == [
        (
            "state_transition",
            11,
            "Released D and S while running; speed fell from 16 to 0 studs/s; "
            "the character went from running to idle.",
        ),
    ]
    assert json.loads(rows[0]["evidence"]) == {
        "key": "humanoid_state",
        "from": "Running",
        "to": "Idle",
        "pressed": [],
        "released": ["D", "S"],
        "speed_from": 16,
        "speed_to": 0.0,
        "unit": "studs/s",
    }


def test_health_and_unaligned_frames():
    states = [{"health": h, "inputs": [], "game": "doom"} for h in (100, 85, 60, 60)]
    rows = events(
        frames=frames(
            4,
            state=[json.dumps(s) for s in states],
            alignment=["frame", "estimated", "unaligned", "frame"],
        )
    )
    assert [r["description"] for r in rows] == ["Health fell from 100 to 85."]
    assert rows[0]["confidence"] == pytest.approx(0.7)


def test_what_is_fixed_to_the_screen_does_not_start_or_stop():
    """A weapon in hand bobs while the camera turns; a runner whom it follows strays and stops."""
    turn = [1.0, 0, 90.0, 0, 1.0, 0, 0, 0, 1.0]  # the world goes 90 px to the right a frame
    words = ["static"] * 4 + ["moving"] * 4 + ["static"] * 4
    speeds = [[0.0, 0.0]] * 4 + [[-180.0, 20.0]] * 4 + [[0.0, 0.0]] * 4
    weapon = [(280 + i % 3, 380 - i % 2, 360 + i % 3, 480) for i in range(12)]
    runner = [(300 + 12 * i, 200, 340 + 12 * i, 300) for i in range(12)]

    def kinds(homography):
        rows = events(
            frames=frames(12, camera_homography=[None] + [homography] * 11),
            tracks=[track(1, "object"), track(2)],
            objects=[
                *seen(1, weapon, motion=words, velocity=speeds),
                *seen(2, runner, motion=words, velocity=speeds),
            ],
        )
        return {(r["kind"], *r["track_ids"]) for r in rows}

    told = {("starts", 2), ("stops", 2)}
    assert kinds(turn) == told
    # The same boxes under a camera that stands still are of something in the world.
    assert kinds([1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0]) == told | {("starts", 1), ("stops", 1)}
