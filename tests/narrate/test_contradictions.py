"""Another's sentences against facts: what contradicts is flagged, what does not is left alone."""

import json

import pytest

from stpe.narrate.contradictions import contradictions
from stpe.narrate.facts import FrameFacts
from stpe.narrate.frame import narrate_frame
from stpe.narrate.state import state_of


def claim(kind, subject, value, unit=""):
    return {"kind": kind, "subject": subject, "value": value, "unit": unit, "clause": f"{value}"}


WALK = [claim("activity", "the character", "Running"), claim("speed", "it", 16.0, "studs/s")]
IDLE = [claim("activity", "the character", "Idle"), claim("speed", "it", 0.0, "studs/s")]
STREET = [
    claim("count", "person", 2),
    claim("camera_motion", "camera", "static"),
    claim("object_motion", "dog #3", "left"),
    claim("object_motion", "car #4", "static"),
]


@pytest.mark.parametrize(
    ("sentence", "claims", "kind"),
    [
        ("The character is dancing on the tiles.", WALK, "activity"),
        ("The figure performs a slow, deliberate dance.", IDLE, "activity"),
        ("The player runs across the grid.", IDLE, "activity"),
        ("It moves at 20 studs per second.", WALK, "speed"),
        ("The character rushes forward.", IDLE, "speed"),
        ("Three people wait at the crossing.", STREET, "count"),
        ("Only one person is in view.", STREET, "count"),
        ("The camera pans slowly to the right.", STREET, "camera"),
        ("The camera is static.", [claim("camera_motion", "camera", "pan_left")], "camera"),
        ("The camera pans right.", [claim("camera_motion", "camera", "pan_left")], "camera"),
        ("A dog runs to the right.", STREET, "direction"),
        ("The dog stands still.", STREET, "motion"),
        ("A car drives down the road.", STREET, "motion"),
        ("Contrary to the measurements, a cat is there.", STREET, "declared"),
    ],
)
def test_contradictions_are_flagged(sentence, claims, kind):
    (found,) = contradictions(["It is day. " + sentence], claims)
    assert (found["kind"], found["sentence"]) == (kind, sentence)
    assert found["fact"]


@pytest.mark.parametrize(
    ("sentence", "claims"),
    [
        ("The character is walking at 16.0 studs per second.", WALK),
        ("The character is not dancing.", WALK),
        ("The character stands with arms at its side.", IDLE),
        ("The character isn't running; it waits.", IDLE),
        ("Two people wait while a dog trots by.", STREET),
        ("The camera stays still as the dog runs left.", STREET),
        ("A parked car fills the left of the picture.", STREET),
        ("The dog moves up and left.", STREET),
        ("A bird flies to the right.", STREET),
        ("The camera pans left.", [claim("camera_motion", "camera", "pan_left")]),
    ],
)
def test_what_agrees_is_left_alone(sentence, claims):
    assert contradictions([sentence], claims) == []


def test_the_prototypes_vlm_against_the_engines_log(shared_data):
    path = shared_data / "prototype_outputs" / "roblox_walking_analysis.json"
    analysis = json.loads(path.read_text())
    flagged = []
    for row in analysis["frames"]:
        state = state_of(row)
        facts = FrameFacts(row["frame_idx"], row["timestamp"], (1080, 1920), state=state)
        claims = json.loads(narrate_frame(facts).claims)
        texts = [text for text in row["caption"].values() if text]
        flagged += contradictions(texts, claims)
        if row["frame_idx"] in (3, 13):
            (dance,) = [c for c in contradictions([analysis["summary"]], claims) if "dance" in
                        c["sentence"]]  # fmt: skip
            assert dance["kind"] == "activity"
    # It was told the state of each frame, and repeats it.
    assert len(flagged) <= 2, flagged
