"""The statements that captions make, apart from their words, so that they can be checked."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from stpe import strict_json
from stpe.narrate.facts import Claim, Clause, FrameFacts, Row, Thing
from stpe.narrate.words import direction

#: Kind of claim to what its subject and value are.
KINDS: dict[str, str] = {
    "count": "so many instances of a class (`any`: of whatever class) are in view",
    "object_motion": "an object moves in a direction of the picture by itself, or is `static`",
    "object_speed": "its camera-compensated speed in px/s",
    "relation": "subject and object stand in a relation; value is `RELATION OBJECT`",
    "camera_motion": "the camera's motion since the previous frame, as in `frames.camera_motion`",
    "camera_rotation": "degrees the camera turned since the previous frame",
    "activity": "what the figure of the state log does, in the game's own word where it has one",
    "speed": "its speed, in the log's unit",
    "input": "a key is `held`, was `pressed` or `released` since the previous frame",
    "counter": "value of health and the like",
    "counter_change": "by how much a counter changed since the previous frame",
    "activity_change": "what the figure went over to since the previous frame",
    "speed_change": "by how much its speed changed in a transition; `vertical velocity` likewise",
    "displacement": "how far the figure came since the previous frame, in the log's unit",
    "turn": "degrees it turned since the previous frame, left positive",
    "event": "an event of that kind began since the previous frame; subject is who",
    "action": "the clip looks like that class",
}

_ACTIVITIES = ("humanoid_state", "player.state", "player.speed", "activity", "speed")


def motion_claims(thing: Thing, name: str, row: Row) -> list[Claim]:
    """What is said of a thing's own motion."""
    if thing.moving and thing.velocity is not None:
        speed = math.hypot(*thing.velocity)
        way = direction(*thing.velocity)
        return [
            Claim("object_motion", name, way, "", row),
            Claim("object_speed", name, round(speed, 2), "px/s", row),
        ]
    if thing.motion == "static":
        return [Claim("object_motion", name, "static", "", row)]
    return []


def event_claims(event: Mapping[str, Any], facts: FrameFacts) -> list[Claim]:
    """What the sentence of an event says."""
    row = {"table": "events", "event_id": event["event_id"]}
    evidence = json.loads(event.get("evidence") or "{}")
    if event["kind"] != "state_transition":
        who = " ".join(f"#{i}" for i in event.get("track_ids") or ()) or "picture"
        return [Claim("event", who, event["kind"], "", row)]
    found = [
        Claim("input", key, verb, "", row)
        for verb in ("pressed", "released")
        for key in evidence.get(verb, ())
    ]
    who = facts.state.who if facts.state else "figure"
    for name in ("vertical_velocity", "speed"):
        if f"{name}_from" in evidence:
            change = evidence[f"{name}_to"] - evidence[f"{name}_from"]
            unit = evidence.get("unit", "")
            found.append(Claim("speed_change", name.replace("_", " "), round(change, 4), unit, row))
    was, now = evidence.get("from"), evidence.get("to")
    if _is_number(was) and _is_number(now):
        found.append(Claim("counter_change", evidence["key"], now - was, "", row))
    elif isinstance(now, str):
        subject = who if evidence["key"] in _ACTIVITIES else evidence["key"]
        found.append(Claim("activity_change", subject, now, "", row))
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def told(clauses: Iterable[Clause]) -> str:
    """JSON of what the clauses claim, each clause once, in order."""
    seen: dict[str, Clause] = {}
    for clause in clauses:
        seen.setdefault(clause.text, clause)
    rows = [
        {**{k: v for k, v in vars(claim).items() if v is not None}, "clause": text}
        for text, clause in seen.items()
        for claim in clause.claims
    ]
    return strict_json.dumps(rows, sort_keys=True, ensure_ascii=False)
