"""Claims of captions against the truth of a recorded episode, right ones and spoilt ones."""

import dataclasses
import json

import numpy as np
import oracle
import pyarrow as pa
import pytest

from stpe.dataset.reader import open_dataset
from stpe.evaluate.facts import Moment, camera_words, judge, wanted
from stpe.evaluate.labels.recognise import read_truth
from stpe.evaluate.run import evaluate_dataset
from stpe.evaluate.scorers.captions import score
from stpe.evaluate.truth import Truth, TruthFrame
from stpe.evaluate.view import View
from stpe.signals import schema
from stpe.stages.captions import Captions
from stpe.stages.stage import Request, Span, Window
from stpe.video.frame import SourceInfo


@pytest.fixture(scope="module")
def truth(episode):
    return read_truth(episode)


@pytest.fixture(scope="module")
def narrated(episode, truth):
    """`frames` rows that the real narrator wrote from what is true."""
    log = [json.loads(line) for line in (episode / "state.jsonl").read_text().splitlines()]
    index = list(oracle.analysed(truth))
    frames = []
    for before, frame in zip([None, *index], index, strict=False):
        words = sorted(camera_words(Moment(truth, frame, before, None)))
        word = next((w for w in words if w.startswith(("pan", "translate"))), (words or [None])[0])
        frames.append(
            {"frame_index": frame, "pts": frame / 35, "camera_motion": word,
             "camera_confidence": 0.9, "state": json.dumps(log[frame]), "alignment": "frame"}
        )  # fmt: skip
    moving = {(frame, o.identity): o for frame in index for o in truth.objects[frame]}
    objects = oracle.true_objects(truth)
    for row in objects:
        true = moving[row["frame_index"], row["track_id"]]
        row["area_px"], row["velocity_std_px_s"] = 100.0, 1.0
        row["object_velocity_px_s"] = _way(true, truth.frames[row["frame_index"]])
    names = (*Captions.reads, *Captions.optional)
    tables = {}
    for name, rows in {"frames": frames, "objects": objects}.items():
        columns = [n.split(".")[1] for n in names if n.startswith(name + ".")]
        tables[name] = pa.Table.from_pylist(rows, schema(name, columns))
    source = SourceInfo("a.mp4", "file", "0" * 64, 320, 240, 35.0, 3.0, 105)
    window = Window(source, Span(0, 0.0, 3.0, True), rows=tables)
    told = Captions({}, Request()).process(window).tables["frames"].to_pylist()
    return [{**a, **b} for a, b in zip(frames, told, strict=True)], objects


def _way(true, frame):
    if true.position is None or true.velocity is None:
        return [50.0, 0.0]
    pose, camera = frame.camera_to_world_44, frame.intrinsics
    a, b = (
        pose[:3, :3].T @ (np.array(p) - pose[:3, 3])
        for p in (true.position, np.array(true.position) + 0.2 * np.array(true.velocity))
    )
    step = [camera.fx * (b[0] / b[2] - a[0] / a[2]), camera.fy * (b[1] / b[2] - a[1] / a[2])]
    return [5 * step[0], 5 * step[1]]


def measures(tmp_path, episode, truth, frames, objects):
    video = oracle.write(tmp_path / "ds", episode / "episode.mp4", truth, objects, frames=frames)
    view = View(open_dataset(tmp_path / "ds"), video)
    once = np.ones(view.blocks.count)
    return {m.metric: m.figure(once) for m in score(view, truth)}


def test_true_captions_are_right_and_spoilt_ones_are_not(tmp_path, episode, truth, narrated):
    frames, objects = narrated
    done = measures(tmp_path / "true", episode, truth, frames, objects)
    assert done["precision, the camera and cuts"] == 1
    assert done["precision, objects"] == 1
    assert done["precision, the state log"] > 0.98
    assert done["recall, the state log"] > 0.9
    assert done["precision"] > 0.99

    turned = {"pan_left": "pan_right", "pan_right": "pan_left", "translate": "static"}
    spoilt = []
    for row in frames:
        claims = json.loads(row["caption_facts"])
        for claim in claims:
            if claim["kind"] == "camera_motion":
                claim["value"] = turned.get(claim["value"], "roll_cw")
            elif claim["kind"] == "counter" and claim["subject"] == "health":
                claim["value"] -= 7
            elif claim["kind"] == "counter_change":
                claim["value"] = -claim["value"]
            elif claim["kind"] == "object_motion":
                claim["value"] = "up" if claim["value"] == "static" else "static"
        spoilt.append({**row, "caption_facts": json.dumps(claims)})
    wrong = measures(tmp_path / "spoilt", episode, truth, spoilt, objects)
    assert wrong["precision, the camera and cuts"] < 0.35
    assert wrong["precision, objects"] == 0
    assert 0.5 < wrong["precision, the state log"] < done["precision, the state log"]
    assert wrong["recall"] < done["recall"]


def test_a_change_is_that_counters_own_and_goes_its_way(truth):
    states = {
        0: {"health": 50, "ammo": 9},
        1: {"health": 35, "ammo": 9},
        2: {"health": 60, "ammo": 8},
    }
    frames = {i: TruthFrame(i / 35, state=state) for i, state in states.items()}
    moment = Moment(dataclasses.replace(truth, frames=frames), 2, 0, None)

    def right(counter, value):
        claim = {"kind": "counter_change", "subject": counter, "value": value, "row": {}}
        return [judged.right for judged in judge([claim], moment)]

    assert right("health", 10) == right("health", -15) == right("health", 25) == [True]
    assert right("health", -10) == right("health", 3) == right("ammo", 1) == [False]
    claim = {"kind": "counter_change", "subject": "ammo", "value": -1, "row": {}}
    told = [fact.told for fact in wanted([claim], moment) if fact.kind == "counter_change"]
    assert sorted(told) == [False, True]


def test_silence_lowers_recall_alone(tmp_path, episode, truth, narrated):
    frames, objects = narrated
    silent = [{**row, "caption_facts": "[]"} for row in frames]
    done = measures(tmp_path, episode, truth, silent, objects)
    assert "precision" not in done
    assert done["recall"] == 0


def test_the_scorecard_has_the_captions(tmp_path, episode, truth, narrated):
    frames, objects = narrated
    oracle.write(tmp_path / "ds", episode / "episode.mp4", truth, objects, frames=frames)
    row = evaluate_dataset(tmp_path / "ds", episode).card.row("frames.caption_facts precision")
    assert row.value > 0.99
    assert row.counted == "claims"


def test_words_for_a_known_camera():
    def moment(yaw_deg=0.0, pitch_deg=0.0, move=(0.0, 0.0, 0.0)):
        y, p = np.radians([yaw_deg, pitch_deg])
        turn_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
        turn_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = turn_y @ turn_x, move
        frames = {0: TruthFrame(0.0, np.eye(4)), 1: TruthFrame(0.5, pose)}
        return Moment(Truth("made", None, frames=frames, metric=True), 1, 0, None)

    assert camera_words(moment()) == {"static"}
    assert camera_words(moment(yaw_deg=5)) == {"pan_right"}
    assert camera_words(moment(yaw_deg=-5)) == {"pan_left"}
    assert camera_words(moment(pitch_deg=5)) == {"tilt_up"}
    assert camera_words(moment(move=(0, 0, 1))) == {"translate", "zoom_in"}
    assert camera_words(moment(yaw_deg=5, move=(0.3, 0, 0))) == {"pan_right", "translate", "mixed"}
    assert camera_words(moment(yaw_deg=20, move=(0.05, 0, 0))) == {"pan_right"}
    assert camera_words(moment(yaw_deg=1, move=(1, 0, 0))) == {"translate"}
