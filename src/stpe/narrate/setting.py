"""Clauses about the camera, the game, what changed, the action and the user's context."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from stpe.narrate.claims import event_claims
from stpe.narrate.facts import Claim, Clause, FrameFacts
from stpe.narrate.state import GameState
from stpe.narrate.words import (
    amount,
    camera_does,
    count_word,
    hedged,
    listed,
    lower_first,
    moves,
    number,
)

#: Probability that a clip shows its class at all from which it is told, and from which plainly.
#: What a classifier gives its best class says nothing of that: of what it does not know, it is
#: often as sure.
LEAST_CLASS, SURE_CLASS = 0.5, 0.9
_LEAST_TURN = 0.5  # degrees: less is not told as a turn
_SAME_S = 1e-5  # times are stored to the microsecond
_SURE_TURN = 0.6  # trust in the camera from which its angle is told
#: What is said beside the log of a match that is less than certain.
_MATCHED = {
    "estimated": " (matched by estimate)",
    "unverified": " (not verified to be of this video)",
}
#: Most telling first.
_EVENTS = (
    "state_transition",
    "collides",
    "starts",
    "stops",
    "accelerates",
    "camera_starts",
    "camera_stops",
    "appears",
    "disappears",
)


def camera(facts: FrameFacts, detailed: bool = False) -> Clause | None:
    """What the camera does."""
    if facts.camera is None or moves(facts.camera) is None:
        return None
    text = f"the camera {hedged(camera_does(facts.camera), facts.camera_confidence)}"
    claims = [Claim("camera_motion", "camera", facts.camera, "", facts.row)]
    rotation = facts.camera_rotation_deg
    trust = facts.camera_confidence
    still = facts.camera == "static"
    sure = trust is None or trust >= _SURE_TURN
    if detailed and rotation is not None and sure and not still:
        angle = sum(x * x for x in rotation) ** 0.5
        if angle >= 0.1:
            text += f", turning about {number(angle, 2)}° since the previous frame"
            claims.append(Claim("camera_rotation", "camera", round(angle, 3), "deg", facts.row))
    return Clause(text, [facts.row], claims)


def state(facts: FrameFacts, level: int) -> list[Clause]:
    """What the game's log says; level 0 is the activity alone, 2 everything."""
    game = facts.state
    if game is None:
        return []
    source = "the game state" + _MATCHED.get(facts.alignment or "", "")
    text, claims = "", list[Claim]()
    if game.activity is not None:
        text = f"{game.who} is {doing(game)}"
        word = game.activity_raw or game.activity
        claims.append(Claim("activity", game.who, word, "", facts.row))
        if game.speed is not None:
            speed = round(game.speed, 4)
            claims.append(Claim("speed", game.who, speed, game.speed_unit, facts.row))
        if level and game.ground:
            text += f" on the {game.ground}"
        if level and game.airborne is not None:
            text += f", {amount(game.airborne, game.length_unit)} above the ground"
    held = game.inputs
    if level and held is not None:
        keys = (
            f"{listed(held)} {'is' if len(held) == 1 else 'are'} held"
            if held
            else "no input is held"
        )
        claims += [Claim("input", key, "held", "", facts.row) for key in held]
        text = f"{text} while {keys}" if text else keys
    found = []
    if text:
        shown = (
            text
            if level == 0 and facts.alignment != "unverified"
            else f"according to {source}, {text}"
        )
        found.append(Clause(shown, [facts.row], claims))
    if level == 2 and game.counters:
        values = listed([f"{k} is {number(v, 4)}" for k, v in game.counters.items()])
        stated = [Claim("counter", k, v, "", facts.row) for k, v in game.counters.items()]
        found.append(Clause(f"in {source}, {values}", [facts.row], stated))
    if level == 2 and game.words:
        plain = [f"{k.replace('_', ' ')} is {v}" for k, v in list(game.words.items())[:5]]
        found.append(Clause(f"{source} also says that {listed(plain)}", [facts.row]))
    return found


def doing(game: GameState) -> str:
    """What the figure does, and how fast: `running at 16 studs/s (walking pace)`."""
    text = str(game.activity)
    if game.speed is not None and game.speed >= game.still:
        text += f" at {amount(game.speed, game.speed_unit)}"
    return f"{text} ({game.gait})" if game.gait else text


def moved(facts: FrameFacts) -> Clause | None:
    """How far the log's figure came, and how far it turned, since the previous frame."""
    game, before = facts.state, facts.before
    if game is None or before is None or facts.step_s is None:
        return None
    parts, claims = [], []
    a, b = before.position, game.position
    if a is not None and b is not None and len(a) == len(b):
        far = math.dist(a, b)
        if far >= game.still * facts.step_s:
            parts.append(f"moved {amount(far, game.length_unit)}")
        claims.append(
            Claim("displacement", game.who, round(far, 4), game.length_unit, facts.row)
        )  # fmt: skip
    if before.heading_deg is not None and game.heading_deg is not None:
        turn = (game.heading_deg - before.heading_deg + 180) % 360 - 180
        if abs(turn) >= _LEAST_TURN:
            parts.append(f"turned {number(abs(turn))}° {'left' if turn > 0 else 'right'}")
        claims.append(Claim("turn", game.who, round(turn, 3), "deg", facts.row))
    if not claims:
        return None
    still = "stayed where it was" if claims[0].kind == "displacement" else "did not turn"
    did = " and ".join(parts) or still
    when = f"in the {number(facts.step_s, 2)} s since the previous frame"
    return Clause(f"{when} {game.who} {did}", [facts.row], claims)


def since(facts: FrameFacts, most: int, even_nothing: bool) -> Clause | None:
    """What has happened since the previous frame, from the events first seen in this one."""
    if facts.events is None:
        return None
    # The first frame of a shot, though decoded frames of it may lie before.
    begins = facts.since_s is None and facts.shot is not None
    if begins and facts.shot is not None and facts.shot["transition"] in ("cut", "gradual"):
        how = "a cut" if facts.shot["transition"] == "cut" else "a gradual transition"
        here = facts.shot["start_frame"] == facts.frame_index
        rows = [{"table": "shots", "shot_id": facts.shot["shot_id"]}]
        kind = "cut" if facts.shot["transition"] == "cut" else "gradual_transition"
        claims = [Claim("event", "picture", kind, "", rows[0])]
        text = f"a new shot begins here with {how}"
        if not here:
            text = f"a new shot began with {how} since the previous frame"
        return Clause(text, rows, claims)
    if facts.since_s is None:
        return None
    # A change in the log where no frame had a row is filed at another frame: no news there.
    now, before = facts.pts + _SAME_S, facts.pts - facts.since_s - _SAME_S
    ranked = sorted(
        (e for e in facts.events if e["kind"] in _EVENTS and before <= e["pts"] <= now),
        key=lambda e: (_EVENTS.index(e["kind"]), -e["confidence"], e["event_id"]),
    )
    when = f"since the previous frame, {number(facts.since_s, 2)} s earlier"
    if not ranked and not even_nothing:
        return None
    if not ranked:
        return Clause(f"no event was detected {when}", [facts.row])
    told = sorted(ranked[:most], key=lambda e: e["event_id"])
    texts = [hedged(lower_first(e["description"].rstrip(".")), e["confidence"]) for e in told]
    if len(ranked) > most:
        rest = len(ranked) - most
        texts.append("another event" if rest == 1 else f"{count_word(rest)} other events")
    rows = [{"table": "events", "event_id": e["event_id"]} for e in ranked]
    claims = [claim for e in told for claim in event_claims(e, facts)]
    return Clause(f"{when}: {'; '.join(texts)}", rows, claims)


def best_class(clip: Mapping[str, Any] | None) -> tuple[str, float] | None:
    """What a clip shows, and how probable it is that it does; None where that is not known."""
    if clip is None or not clip.get("classes") or clip.get("class_confidence") is None:
        return None
    return clip["classes"][0]["label"], clip["class_confidence"]


def clip_class(facts: FrameFacts, least: float) -> Clause | None:
    """What the clip classifier thinks, as a likeness and not a fact."""
    best = best_class(facts.clip)
    if facts.clip is None or best is None or best[1] < least:
        return None
    label, confidence = best
    how = "looks like" if confidence >= SURE_CLASS else "looks a little like"
    text = f"the action {how} {label} (p = {number(confidence, 2)})"
    row = {"table": "clips", "clip_id": facts.clip["clip_id"]}
    return Clause(text, [row], [Claim("action", "clip", label, "", row)])


def context(facts: FrameFacts) -> Clause | None:
    """The user's own words, marked as such."""
    if not facts.context:
        return None
    said = facts.context.strip().rstrip(".")
    return Clause(f'context given by the user, not measured: "{said}"', [{"option": "context"}])
