"""What a game's state record says, in one form for every game.

Known: the Roblox log (`humanoid_state`, `hrp`, `ground`, `inputs`) and the records of this
project's own simulators (`player`, `health`, `inputs`). Of any other record only plain
top-level numbers, words and a list called `inputs` are read, under their own names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stpe.narrate.words import listed, number

#: Speed below which a figure stands still, in the game's own units a second.
STILL = 0.1
_WRAPPERS = ("roblox_metadata", "game_state", "state", "metadata")
_COUNTERS = ("health", "armor", "ammo", "kills", "score", "lives", "level", "coins")
_ROBLOX = {
    "running": "running",
    "runningnophysics": "running",
    "strafingnophysics": "strafing",
    "idle": "idle",
    "jumping": "jumping",
    "freefall": "falling freely",
    "flying": "flying",
    "landed": "landing",
    "climbing": "climbing",
    "swimming": "swimming",
    "seated": "seated",
    "dead": "dead",
    "fallingdown": "falling over",
    "gettingup": "getting up",
    "ragdoll": "limp",
}


@dataclass(frozen=True)
class GameState:
    """One record.

    Attributes:
        who: how the narrator calls the figure the record is about.
        activity: what it does, as a predicate after "is"; None where the record does not say.
        activity_key, activity_raw: where that was read, and the game's own word.
        speed: in `speed_unit` (empty where the unit is unknown).
        inputs: keys or buttons held; None where the record has no inputs.
        counters: health and the like.
        ground: what it stands on, if the record says that it touches it.
        airborne: height above the ground, in `length_unit`.
        words: other plain facts, by name.
    """

    who: str
    activity: str | None = None
    activity_key: str = ""
    activity_raw: str = ""
    speed: float | None = None
    speed_unit: str = ""
    length_unit: str = ""
    inputs: tuple[str, ...] | None = None
    counters: Mapping[str, float] = field(default_factory=dict)
    ground: str | None = None
    airborne: float | None = None
    words: Mapping[str, str | float | bool] = field(default_factory=dict)


def read_state(text: str | None) -> GameState | None:
    """The record in `frames.state`; None for null, and for JSON that is not an object."""
    if not text:
        return None
    try:
        record = json.loads(text)
    except json.JSONDecodeError:
        return None
    if not isinstance(record, dict):
        return None
    for name in _WRAPPERS:
        if isinstance(record.get(name), dict):
            record = record[name]
    if "humanoid_state" in record or "hrp" in record:
        return _roblox(record)
    if record.get("game") == "doom":
        return _doom(record)
    known = {"inputs", "frame", "frame_idx", "timestamp", "time", "fps", *_COUNTERS}
    plain = {
        name: value
        for name, value in record.items()
        if name not in known and isinstance(value, str | int | float | bool)
    }
    return GameState("the game", inputs=_inputs(record), counters=_counters(record), words=plain)


def changes(before: GameState, now: GameState) -> list[tuple[str, dict[str, Any]]]:
    """(text, evidence) of every change between two records of one game."""
    found: list[tuple[str, dict[str, Any]]] = []
    if before.activity and now.activity and before.activity != now.activity:
        text = f"{now.who} goes from {before.activity} to {now.activity}"
        evidence: dict[str, Any] = {"key": now.activity_key}
        evidence |= {"from": before.activity_raw or before.activity}
        evidence |= {"to": now.activity_raw or now.activity}
        if before.speed is not None and now.speed is not None:
            text += f" ({number(before.speed)} to {number(now.speed)} {now.speed_unit})"
            evidence |= {"speed_from": before.speed, "speed_to": now.speed}
        found.append((text, evidence))
    if before.inputs is not None and now.inputs is not None and before.inputs != now.inputs:
        pressed = [key for key in now.inputs if key not in before.inputs]
        released = [key for key in before.inputs if key not in now.inputs]
        parts = [
            f"{'input' if len(keys) == 1 else 'inputs'} {listed(keys)} "
            f"{'is' if len(keys) == 1 else 'are'} {verb}"
            for keys, verb in ((pressed, "pressed"), (released, "released"))
            if keys
        ]
        evidence = {"key": "inputs", "from": list(before.inputs), "to": list(now.inputs)}
        found.append((" and ".join(parts), evidence))
    for name, value in now.counters.items():
        was = before.counters.get(name)
        if was is not None and was != value:
            verb = "drops" if value < was else "rises"
            text = f"{name} {verb} from {number(was, 4)} to {number(value, 4)}"
            found.append((text, {"key": name, "from": was, "to": value}))
    for name, word in now.words.items():
        previous = before.words.get(name)
        if isinstance(word, str | bool) and previous is not None and previous != word:
            text = f"{name.replace('_', ' ')} changes from {previous} to {word}"
            found.append((text, {"key": name, "from": previous, "to": word}))
    return found


def _roblox(record: Mapping[str, Any]) -> GameState:
    raw = record.get("humanoid_state")
    activity = None if raw is None else _ROBLOX.get(str(raw).lower(), f'in state "{raw}"')
    speed = _number(_mapping(record.get("hrp")).get("speed"))
    if activity == "running" and speed is not None and speed < STILL:
        activity = "standing still"  # the engine calls a figure at rest on its feet Running too
    ground = _mapping(record.get("ground"))
    height = _number(ground.get("distance_to_landing"))
    touches = height is not None and height < 0.5
    surface = ground.get("landing_instance")
    return GameState(
        "the character",
        activity,
        "humanoid_state",
        str(raw or ""),
        speed,
        "studs/s",
        "studs",
        _inputs(record),
        _counters(record),
        ground=str(surface) if touches and surface else None,
        airborne=None if touches else height,
    )


def _doom(record: Mapping[str, Any]) -> GameState:
    speed = _number(_mapping(record.get("player")).get("speed"))
    activity = None if speed is None else ("standing still" if speed < 5 else "moving")
    return GameState(
        "the player",
        activity,
        "player.speed",
        "",
        speed,
        "map units/s",
        "map units",
        _inputs(record),
        _counters(record),
    )


def _inputs(record: Mapping[str, Any]) -> tuple[str, ...] | None:
    held = record.get("inputs")
    if isinstance(held, list) and all(isinstance(key, str) for key in held):
        return tuple(sorted(set(held)))
    return None


def _counters(record: Mapping[str, Any]) -> dict[str, float]:
    found = {name: _number(record.get(name)) for name in _COUNTERS}
    return {name: value for name, value in found.items() if value is not None}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
