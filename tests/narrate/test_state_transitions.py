"""A jump in the structure of the real engine's log, told with cause and numbers."""

import json

import av
import numpy as np
import pyarrow as pa
import pytest

from stpe.dataset.reader import open_dataset
from stpe.engine import Engine
from stpe.narrate.state import state_of
from stpe.narrate.transitions import transitions
from stpe.stages.event_scene import state_changes
from stpe.stages.stage import Request, Span, Window
from stpe.stages.state_log import StateLogStage
from stpe.state.reading import StateFile
from stpe.video.frame import SourceInfo

FPS = 30
GRAVITY = 196.2


def record(frame, state, speed, rise, height, inputs):
    """As the prototype's recorder writes it, one a frame."""
    return {
        "frame": frame + 1,
        "timestamp": 1765616658.5 + frame / FPS,
        "fps": 60,
        "humanoid_state": state,
        "hrp": {
            "cframe": {"position": [speed * frame / FPS, 4 + height, 0], "look_vector": [1, 0, 0]},
            "velocity": [speed, rise, 0],
            "speed": float(np.hypot(speed, rise)),
        },
        "ground": {"landing_instance": "Baseplate", "distance_to_landing": height},
        "inputs": inputs,
    }


def jump_log(power=12.0, press=30):
    """Runs, jumps at frame `press`, falls and runs on: the flight is shorter than half a second."""
    flight = 2 * power / GRAVITY
    log = []
    for frame in range(2 * FPS):
        t = (frame - press) / FPS
        state, rise, height = "Running", 0.0, 0.0
        if 0 <= t < flight:
            # The engine reports the state after the physics step: power is the first velocity.
            rise, height = power - GRAVITY * t, power * t - GRAVITY * t * t / 2
            state = "Jumping" if t < flight / 2 else "Freefall"
        elif flight <= t < flight + 1 / FPS:
            state = "Landed"
        inputs = ["W", "Space"] if 0 <= t < 0.1 else ["W"]
        log.append(record(frame, state, 16.0, rise, height, inputs))
    return log


def test_a_jump_has_its_key_and_its_velocity():
    samples = [(i / FPS, state_of(r)) for i, r in enumerate(jump_log())]
    told = transitions(samples)
    assert told[0].text == (
        "pressed Space while running; vertical velocity rose from 0 to 12 studs/s; "
        "the character went from running to jumping"
    )
    assert told[0].pts == pytest.approx(1.0)
    assert told[0].evidence == {
        "key": "humanoid_state",
        "from": "Running",
        "to": "Jumping",
        "pressed": ["Space"],
        "released": [],
        "vertical_velocity_from": 0.0,
        "vertical_velocity_to": 12.0,
        "unit": "studs/s",
    }
    assert [t.evidence.get("to") for t in told if t.evidence["key"] == "humanoid_state"] == [
        "Jumping",
        "Freefall",
        "Landed",
        "Running",
    ]


def test_a_late_effect_is_put_down_to_its_key_and_an_old_key_is_not():
    log = jump_log()
    for early, frames in ((True, 5), (False, 15)):
        held = [{**r, "inputs": ["W"]} for r in log]
        for i in range(30 - frames, 34):
            held[i]["inputs"] = ["Space", "W"]
        told = transitions([(i / FPS, state_of(r)) for i, r in enumerate(held)])
        assert told[0].text.startswith("pressed Space while running")
        assert ("went from running to jumping" in told[0].text) is early
        if early:
            assert told[0].evidence["after_s"] == pytest.approx(5 / FPS, abs=1e-3)


def test_a_speed_that_was_changing_already_is_not_put_down_to_a_key():
    speeds = [16.0] * 10 + [14.0, 11.0, 8.0, 5.0, 3.0, 2.0]
    log = [
        {"humanoid_state": "Running", "hrp": {"speed": v}, "inputs": ["E"] if i >= 13 else []}
        for i, v in enumerate(speeds)
    ]
    (told,) = transitions([(i / FPS, state_of(r)) for i, r in enumerate(log)])
    assert told.text == "pressed E while running"


def test_another_episode_starts_afresh_and_nan_says_nothing():
    a = {"game": "doom", "episode": 0, "health": 10, "inputs": ["ATTACK"]}
    b = {"game": "doom", "episode": 1, "health": 100, "inputs": []}
    assert not transitions([(0.0, state_of(a)), (1.0, state_of(b))])
    nan = state_of({"game": "doom", "health": float("nan"), "player": {"velocity": ["x", 1, 2]}})
    assert nan.counters == {}
    assert nan.speed is None


def test_units_are_the_logs_own():
    robot = {"robot": {"velocity": [3.0, 4.0], "position": [0, 0]}}
    bare = state_of(robot)
    assert (bare.speed, bare.speed_unit, bare.length_unit) == (5.0, "", "")
    metric = state_of({**robot, "units": {"position": "m"}})
    assert (metric.who, metric.speed_unit, metric.length_unit) == ("the robot", "m/s", "m")


def test_what_happens_between_two_analysed_frames_is_told(tmp_path):
    """The whole way: `--state`, two frames a second, a jump that is over in an eighth of one."""
    video = tmp_path / "jump.mp4"
    with av.open(str(video), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for _ in range(2 * FPS):
            image = np.full((64, 96, 3), 90, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode())
    log = tmp_path / "log.json"
    log.write_text(json.dumps(jump_log(press=33)))
    none = dict.fromkeys(
        ("detector", "segmenter", "image_embedder", "depth", "pose", "shot_detector"), "none"
    )
    with Engine("embedded", {**none, "flow": "dis"}, workers=1) as engine:
        wanted = ["events", "frames.caption_normal", "frames.caption_facts"]
        engine.process(video, tmp_path / "ds", signals=wanted, state=log)
    dataset = open_dataset(tmp_path / "ds")
    frames = dataset.arrow("frames").to_pylist()
    assert all(json.loads(f["state"])["humanoid_state"] == "Running" for f in frames)
    events = dataset.arrow("events").to_pylist()
    jump = next(e for e in events if "Space" in e["description"])
    assert jump["description"].startswith(
        "Pressed Space while running; vertical velocity rose from 0 to 12 studs/s"
    )
    assert jump["pts"] == pytest.approx(33 / FPS, abs=1e-4)
    assert jump["frame_index"] == 45
    assert "pressed Space while running" in frames[3]["caption_normal"]
    assert "Space" not in frames[2]["caption_normal"]


def test_changes_between_unmatched_frames_are_filed_where_a_row_is(tmp_path):
    """Frames 45 and 135 have no row; what changed at 40 and 140 is kept at 90."""
    path = tmp_path / "log.json"
    known = [f for f in range(150) if abs(f - 45) > 3 and abs(f - 135) > 3]
    rows = [{"frame": f, "health": 100 - 10 * (f >= 40) - 5 * (f >= 140)} for f in known]
    path.write_text(json.dumps(rows))
    frames = pa.table({"frame_index": [0, 45, 90, 135], "pts": [0.0, 1.5, 3.0, 4.5]})
    source = SourceInfo("a.mp4", "file", "0" * 64, 96, 64, FPS, 5.0, 150)
    facts = pa.table({"frame_count": [150], "fps": [float(FPS)]})
    window = Window(source, Span(0, 0.0, 5.0, True), rows={"frames": frames, "videos": facts})
    stage = StateLogStage({}, Request(state=StateFile.of(path)))
    found = stage.process(window).tables["frames"]
    assert found["alignment"].to_pylist() == ["unverified", "unaligned", "unverified", "unaligned"]
    told = [None if c is None else json.loads(c) for c in found["state_changes"].to_pylist()]
    assert [c and [change["text"] for change in c] for c in told] == [
        [],
        None,
        ["health fell from 100 to 90", "health fell from 90 to 85"],
        None,
    ]
    events = state_changes(found.to_pylist())
    assert [e.frame_index for e in events] == [90, 90]
    assert [e.pts for e in events] == pytest.approx([40 / FPS, 140 / FPS])
