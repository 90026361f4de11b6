import json

import pyarrow as pa
import pytest

from stpe.narrate.claims import event_claims
from stpe.narrate.facts import FrameFacts
from stpe.narrate.setting import camera, moved, since
from stpe.narrate.span import Span as Stretch
from stpe.narrate.span import camera as camera_for
from stpe.narrate.state import GameState, read_state
from stpe.narrate.words import sentence
from stpe.signals import schema
from stpe.stages.captions import Captions
from stpe.stages.events import Events
from stpe.stages.relations import Relations
from stpe.stages.stage import Request, Span, Window
from stpe.video.frame import SourceInfo


def run(stage, size=(640, 480), context="", **tables):
    source = SourceInfo("a.mp4", "file", "0" * 64, *size, 30.0, 10.0, 300)
    names = (*stage.reads, *stage.optional)
    rows = {}
    for name, found in tables.items():
        columns = [n.split(".")[1] for n in names if n.startswith(name + ".")]
        rows[name] = pa.Table.from_pylist(list(found), schema(name, columns))
    window = Window(source, Span(0, 0.0, 10.0, True), rows=rows)
    return stage({}, Request(context=context)).process(window).tables


def levels(row):
    return [row[f"caption_{level}"] for level in ("brief", "normal", "detailed")]


@pytest.fixture(scope="module")
def roblox(shared_data):
    path = shared_data / "prototype_outputs" / "roblox_walking_analysis.json"
    log = json.loads(path.read_text())["frames"]
    frames = [
        {
            "frame_index": f["frame_idx"],
            "pts": f["timestamp"],
            "state": json.dumps(f),  # as the archive carries it, the record inside
            "alignment": "frame",
        }
        for f in log
    ]
    objects = [
        {
            "frame_index": f["frame_idx"],
            "object_id": i,
            "pts": f["timestamp"],
            "label": o["label"],
            "confidence": o["confidence"],
            "box_xyxy": [float(x) for x in o["bbox"]],
            "area_px": float(o["area"]),
        }
        for f in log
        for i, o in enumerate(f["objects"])
    ]
    size = (1080, 1920)
    events = run(Events, size, frames=frames)["events"].to_pylist()
    relations = run(Relations, size, objects=objects)["relations"].to_pylist()
    said = "the player tests a new animation."
    return run(
        Captions, size, said, frames=frames, objects=objects, relations=relations, events=events
    )


def test_the_roblox_walk_is_a_walk_and_no_dance(roblox):
    rows = roblox["frames"].to_pylist()
    given = 'Context given by the user, not measured: "the player tests a new animation".'
    walks = "the character is running at 16 studs/s (walking pace)"
    assert levels(rows[1]) == [
        f"{sentence(walks)[:-1]}; a humanoid and probably a chest are in view.",
        f"According to the game state, {walks} on the Baseplate while D and S are held. "
        "A humanoid in the centre and probably a chest in the centre are in view. "
        f"{given}",
        f"According to the game state, {walks} on the Baseplate while D and S are held. "
        "A humanoid and probably a chest are in view. The humanoid in the centre fills 12 % of "
        "the frame. The chest in the centre (probably a chest) fills 1 % of the frame. The chest "
        "in the centre is inside the outline of the humanoid in the centre. In the 0.1 s since the "
        "previous frame the character moved 1.6 studs. No event was detected since the previous "
        f"frame, 0.1 s earlier. {given}",
    ]
    assert levels(rows[11])[:2] == [
        "The character is idle; a humanoid is in view.",
        "According to the game state, the character is idle on the Baseplate while no input is "
        "held. A humanoid in the centre is in view. Since the previous frame, 0.1 s earlier: "
        "released D and S while running; speed fell from 16 to 0 studs/s; the character went "
        f"from running to idle. {given}",
    ]
    moved = "the previous frame the character moved 0.596 studs and turned 6° left"
    assert moved in rows[11]["caption_detailed"]
    summary = roblox["videos"]["summary"][0].as_py()
    assert "The character is running at 16 studs/s (walking pace), then idle." in summary
    told = " ".join([summary, *(text for row in rows for text in levels(row))])
    assert "danc" not in told.lower()
    assert "crown" not in told.lower()


def test_claims_stand_beside_the_words(roblox):
    rows = roblox["frames"].to_pylist()
    claims = {(c["kind"], c["subject"]): c for c in json.loads(rows[11]["caption_facts"])}
    assert claims["speed_change", "speed"]["value"] == pytest.approx(-16, abs=0.001)
    assert claims["speed_change", "speed"]["unit"] == "studs/s"
    assert claims["activity", "the character"]["value"] == "Idle"
    assert claims["activity_change", "the character"]["value"] == "Idle"
    assert claims["input", "D"]["value"] == "released"
    assert claims["count", "humanoid"]["value"] == 1
    assert claims["displacement", "the character"]["unit"] == "studs"
    assert 5 < claims["turn", "the character"]["value"] < 7
    evidence = json.loads(rows[11]["caption_evidence"])
    assert all(c["clause"] in evidence for c in claims.values())


def street():
    camera = ["static"] * 3 + ["pan_left"] * 3
    frames, objects = [], []
    for i in range(6):
        frames.append(
            {
                "frame_index": 15 * i,
                "pts": i / 2,
                "shot_id": 0,
                "camera_motion": camera[i],
                "camera_confidence": 0.8 if i != 5 else 0.4,
                "camera_rotation_deg": [0.0, -3.0 if i > 2 else 0.0, 0.0],
            }
        )
        walking = (50 + 30 * i, 200, 110 + 30 * i, 380)
        for j, (label, box, velocity) in enumerate(
            [
                ("person", walking, [60.0, 2.0]),
                ("person", (400, 210, 450, 370), [0.0, 0.0]),
                ("dog", (430, 330, 490, 390), [-40.0 if i >= 2 else 0.0, 0.0]),
                ("object", (300, 20, 520, 120), [0.0, 0.0]),
                ("object", (10, 400, 40, 420), [0.0, 0.0]),
            ]
        ):
            objects.append(
                {
                    "frame_index": 15 * i,
                    "object_id": j,
                    "pts": i / 2,
                    "track_id": j + 1,
                    "label": label,
                    "confidence": 0.9,
                    "box_xyxy": [float(x) for x in box],
                    "area_px": 0.7 * (box[2] - box[0]) * (box[3] - box[1]),
                    "object_velocity_px_s": velocity,
                    "velocity_std_px_s": 5.0,
                    "motion": "moving" if any(velocity) else "static",
                    "motion_confidence": 0.9,
                }
            )
    labels = ["person", "person", "dog", "object", "object"]
    confidences = [0.9, 0.8, 0.5, 0.6, 0.6]
    tracks = [
        {"track_id": j + 1, "label": label, "confidence": c, "motion_summary": "slow"}
        for j, (label, c) in enumerate(zip(labels, confidences, strict=True))
    ]
    shot = {"shot_id": 0, "start_frame": 0, "start_pts": 0.0, "end_pts": 3.0}
    shots = [{**shot, "transition": "start"}]
    relations = run(Relations, objects=objects)["relations"].to_pylist()
    events = run(Events, frames=frames, objects=objects, tracks=tracks, relations=relations)
    clip = {"clip_id": 0, "start_pts": 0.0, "end_pts": 3.0}
    return {
        "frames": frames,
        "objects": objects,
        "tracks": tracks,
        "shots": shots,
        "relations": relations,
        "events": events["events"].to_pylist(),
        "clips": [
            {
                **clip,
                "classes": [{"label": "walking the dog", "confidence": 0.99}],
                "class_confidence": 0.95,
            }
        ],
        "videos": [{"duration_s": 3.0}],
    }


def test_unnamed_objects_alone_are_told_by_the_largest():
    tables = street()
    unnamed = [row for row in tables["objects"] if row["label"] == "object"]
    told = run(Captions, frames=tables["frames"], objects=unnamed)["frames"]["caption_normal"]
    assert told[0].as_py().startswith("Two unnamed objects, the largest at the top, are in view.")


def test_an_action_is_told_in_the_shot_that_its_clip_shows():
    """The clip of 3 s lies in one shot for 2.5 s of them, and in another for the rest."""
    tables = street()
    (shot,) = tables["shots"]
    tables["shots"] = [
        {**shot, "end_pts": 2.5},
        {**shot, "shot_id": 1, "start_frame": 75, "start_pts": 2.5, "transition": "cut"},
    ]
    told = run(Captions, **tables)["frames"]["caption_normal"].to_pylist()
    assert ["walking the dog" in text for text in told] == [True] * 5 + [False]


@pytest.mark.parametrize("confidence", [None, 0.0, 0.4])
def test_no_action_is_told_where_it_may_be_none_of_the_classes(confidence):
    """However sure the classifier is among its classes."""
    tables = street()
    tables["clips"][0] |= {
        "classes": [{"label": "windsurfing", "confidence": 0.999}],
        "class_confidence": confidence,
    }
    found = run(Captions, **tables)
    told = [found["videos"]["summary"][0].as_py()]
    for table in ("frames", "shots"):
        for level in ("brief", "normal", "detailed"):
            told += found[table][f"caption_{level}"].to_pylist()
    told += found["frames"]["caption_facts"].to_pylist()
    assert not [text for text in told if "windsurfing" in str(text) or "action" in str(text)]


def test_a_cut_between_two_analysis_frames_is_told():
    tables = street()
    (shot,) = tables["shots"]
    second = {"shot_id": 1, "start_frame": 50, "start_pts": 50 / 30, "transition": "cut"}
    tables["shots"] = [{**shot, "end_pts": 50 / 30}, {**shot, **second}]
    shots = [{**row, "confidence": 0.9} for row in tables["shots"]]
    tables["events"] = run(Events, frames=tables["frames"], shots=shots)["events"].to_pylist()
    out = run(Captions, **tables)
    told = out["frames"]["caption_normal"].to_pylist()
    assert ["A new shot began with a cut since the previous frame." in text for text in told] == [
        frame == 4 for frame in range(6)
    ]
    assert "There are a cut and" in out["videos"]["summary"][0].as_py()


@pytest.mark.parametrize(("pts", "told"), [(1.4, False), (1.6, True), (3.0, True), (3.2, False)])
def test_only_what_happened_since_the_previous_frame_is_told_so(pts, told):
    event = {"event_id": 0, "kind": "state_transition", "pts": pts, "confidence": 1.0}
    event |= {"description": "Health fell from 100 to 90.", "evidence": "{}"}
    facts = FrameFacts(90, 3.0, (640, 480), events=[event], since_s=1.5)
    assert (since(facts, 3, even_nothing=False) is not None) is told


def test_a_still_camera_does_not_turn():
    facts = FrameFacts(15, 0.5, (640, 480), camera="static", camera_rotation_deg=(0.0, 0.35, 0.0))
    clause = camera(facts, detailed=True)
    assert clause.text == "the camera stays still"
    assert [claim.kind for claim in clause.claims] == ["camera_motion"]


def test_a_game_without_positions_says_nothing_of_where_it_is():
    def facts(**at):
        game = GameState(who="the robot", heading_deg=90.0, **at)
        return FrameFacts(15, 0.5, (640, 480), state=game, before=game, step_s=0.5)

    when = "in the 0.5 s since the previous frame the robot"
    assert moved(facts()).text == f"{when} did not turn"
    assert moved(facts(position=(0.0, 0.0))).text == f"{when} stayed where it was"


def test_a_flag_in_the_log_is_no_counter():
    facts = FrameFacts(15, 0.5, (640, 480))
    event = {"event_id": 0, "kind": "state_transition"}
    for was, now, told in ((1, 3, [2]), (False, True, [])):
        evidence = json.dumps({"key": "armed", "from": was, "to": now})
        claims = event_claims(event | {"evidence": evidence}, facts)
        assert [claim.value for claim in claims] == told


@pytest.mark.parametrize(("measured", "how"), [(1, " for about 0.5 s"), (119, "")])
def test_one_measured_frame_does_not_speak_for_a_shot(measured, how):
    shot = Stretch(0.5)
    for i in range(120):
        word = "pan_left" if 0 < i <= measured else None
        shot.add(FrameFacts(15 * i, i / 2, (640, 480), camera=word))
    assert camera_for(shot) == f"the camera pans left{how}"


def test_a_street_in_three_granularities():
    tables = street()
    out = run(Captions, **tables)
    rows = out["frames"].to_pylist()
    assert levels(rows[3])[:2] == [
        "Two people and probably a dog are in view; one person moves right and the dog moves "
        "left; the camera pans left.",
        "Two people on the left and in the centre, probably a dog at the lower right and two "
        "unnamed objects, the largest at the top, are in view. Person #1 moves right at 60 px/s "
        "and dog #3 moves left at 40 px/s. The camera pans left. Since the previous frame, "
        "0.5 s earlier: the camera starts to pan left. The action looks like walking the dog "
        "(p = 0.95).",
    ]
    detailed = rows[3]["caption_detailed"]
    for text in (
        "Person #1 is on the left, filling 2 % of the frame, and moves right at 60 px/s "
        "(± 5 px/s).",
        "Person #1 is getting closer to person #2.",
        "The camera pans left, turning about 3° since the previous frame.",
    ):
        assert text in detailed
    assert "the camera probably pans left" in rows[5]["caption_brief"]
    shot = out["shots"].to_pylist()[0]
    assert shot["caption_brief"] == (
        "Up to two people and probably a dog are in view; the camera pans left for about 1.5 s "
        "and stays still for about 1.5 s."
    )
    assert "At 1 s: dog #3 starts moving left at 40 px/s." in shot["caption_detailed"]
    assert out["videos"]["summary"][0].as_py().startswith("A video of 3 s in one shot. Up to two")
    assert out["frames"].equals(run(Captions, **tables)["frames"])


def test_every_clause_is_traceable_and_every_row_exists():
    tables = street()
    known = {
        name: [{k: row.get(k) for k in keys} for row in tables[name]]
        for name, keys in {
            "frames": ["frame_index"],
            "objects": ["frame_index", "object_id"],
            "relations": ["frame_index", "subject_object_id", "object_object_id", "relation"],
            "events": ["event_id"],
            "clips": ["clip_id"],
        }.items()
    }
    for row in run(Captions, context="a walk", **tables)["frames"].to_pylist():
        evidence = json.loads(row["caption_evidence"])
        for caption in levels(row):
            left = caption.lower()
            for clause in sorted(evidence, key=len, reverse=True):
                left = left.replace(clause.lower(), "")
            assert set(left) <= set(" .;"), left  # nothing is said beside the clauses
        for rows in evidence.values():
            assert rows
            for key in rows:
                key = dict(key)
                table = key.pop("table", None)
                assert key == {"option": "context"} if table is None else key in known[table]


def test_brief_has_no_coordinates_and_no_sentence_comes_twice():
    for row in run(Captions, **street())["frames"].to_pylist():
        assert "px" not in row["caption_brief"]
        for caption in levels(row):
            sentences = caption.split(". ")
            assert len(sentences) == len(set(sentences))


def test_nothing_is_said_of_what_was_not_measured():
    bare = run(Captions, frames=[{"frame_index": 0, "pts": 0.0}])
    assert set(levels(bare["frames"].to_pylist()[0])) == {"Nothing was measured in this frame."}
    assert "shots" not in bare
    none = run(Captions, frames=[{"frame_index": 0, "pts": 0.0}], objects=[])
    assert levels(none["frames"].to_pylist()[0])[0] == "No object was found."


def test_things_that_no_name_tells_apart_are_told_together():
    boxes = [(600, 280, 620, 320), (570, 280, 590, 320), (300, 200, 340, 300)]
    objects = [
        {
            "frame_index": 0,
            "object_id": i,
            "pts": 0.0,
            "label": "person",
            "confidence": 0.9,
            "box_xyxy": [float(x) for x in box],
            "area_px": 800.0,
        }
        for i, box in enumerate(boxes)
    ]
    relations = run(Relations, objects=objects)["relations"].to_pylist()
    frames = [{"frame_index": 0, "pts": 0.0}]
    out = run(Captions, frames=frames, objects=objects, relations=relations)
    assert out["frames"]["caption_detailed"][0].as_py() == (
        "Three people are in view. Two people on the right cannot be told apart; the largest "
        "fills under 1 % of the frame. The person in the centre fills under 1 % of the frame."
    )


def test_unaligned_state_is_not_told_and_estimated_is_marked():
    record = json.dumps({"humanoid_state": "Jumping", "hrp": {"speed": 16.0}, "inputs": ["Space"]})
    frames = [
        {"frame_index": i, "pts": i / 2, "state": record, "alignment": alignment}
        for i, alignment in enumerate(("unaligned", "estimated"))
    ]
    rows = run(Captions, frames=frames)["frames"].to_pylist()
    assert "jumping" not in rows[0]["caption_detailed"]
    assert rows[1]["caption_detailed"].startswith(
        "According to the game state (matched by estimate), the character is jumping at 16 studs/s "
        "while Space is held."
    )


def test_state_readers():
    at_rest = read_state(json.dumps({"humanoid_state": "Running", "hrp": {"speed": 0.0}}))
    assert at_rest.activity == "standing still"
    doom = read_state(json.dumps({"game": "doom", "player": {"speed": 300.0}, "health": 80}))
    assert (doom.activity, doom.speed_unit, doom.counters) == (
        "moving",
        "map units/s",
        {"health": 80.0},
    )
    other = read_state(json.dumps({"mode": "racing", "inputs": ["Up"], "score": 3}))
    assert (other.words, other.inputs, other.counters) == (
        {"mode": "racing"},
        ("Up",),
        {"score": 3},
    )
    assert read_state("[1]") is None
    assert read_state("{broken") is None
    assert read_state(None) is None
