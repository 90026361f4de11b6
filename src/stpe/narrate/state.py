"""What a game's state record says, in one form for every game.

Known: the Roblox log (`humanoid_state`, `hrp`, `ground`, `inputs`) and the records of this
project's own simulators (`player`, `health`, `inputs`). Of any other record a figure is read where
it has `position`, `velocity` or `speed`, bare or under `player`, `agent`, `robot` or `body`; beside
it plain top-level numbers, words and a list called `inputs`, under their own names. `units` in a
record (`{"velocity": "m/s"}`) says what its numbers are in; nothing is assumed without it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: Speed below which a figure stands still, where the game is not known.
STILL = 0.1
#: Roblox: `Humanoid.WalkSpeed` as the engine sets it; its state for any gait is `Running`.
WALK_STUDS_S = 16.0
_WRAPPERS = ("roblox_metadata", "game_state", "state", "metadata")
_FIGURES = ("player", "agent", "robot", "body")
_COUNTERS = ("health", "armor", "ammo", "kills", "score", "lives", "level", "coins")
_KEYS = ("inputs", "frame", "frame_idx", "frame_index", "timestamp", "time", "fps", "episode")
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

_DOOM = {"hurt": "being hurt", "standing": "standing still", "turning": "turning on the spot"}


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
        position: in `length_unit`, the third axis up where the game's is known.
        vertical: upward velocity, in `speed_unit`.
        heading_deg: anticlockwise from above, so that a turn to the left is positive.
        still: speed below which it stands still. gait: what the speed amounts to in this game.
        episode: number of the round, where the record counts them.
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
    position: tuple[float, ...] | None = None
    vertical: float | None = None
    heading_deg: float | None = None
    still: float = STILL
    gait: str = ""
    episode: str = ""


def read_state(text: str | None) -> GameState | None:
    """The record in `frames.state`; None for null, and for JSON that is not an object."""
    if not text:
        return None
    try:
        record = json.loads(text)
    except json.JSONDecodeError:
        return None
    return state_of(record) if isinstance(record, dict) else None


def state_of(record: Mapping[str, Any]) -> GameState:
    """What one record says."""
    for name in _WRAPPERS:
        if isinstance(record.get(name), dict):
            record = record[name]
    if "humanoid_state" in record or "hrp" in record:
        return _roblox(record)
    if record.get("game") == "doom":
        return _doom(record)
    return _other(record)


def _roblox(record: Mapping[str, Any]) -> GameState:
    raw = record.get("humanoid_state")
    activity = None if raw is None else _ROBLOX.get(str(raw).lower(), f'in state "{raw}"')
    root = _mapping(record.get("hrp"))
    velocity, frame = _vector(root.get("velocity")), _mapping(root.get("cframe"))
    speed = _speed(root.get("speed"), velocity)
    gait = ""
    if activity == "running" and speed is not None:
        if speed < STILL:
            activity = "standing still"  # the engine calls a figure at rest on its feet Running too
        elif speed <= 1.05 * WALK_STUDS_S:
            gait = "walking pace"
    ground = _mapping(record.get("ground"))
    height = _number(ground.get("distance_to_landing"))
    touches = height is not None and height < 0.5
    surface = ground.get("landing_instance")
    look = _vector(frame.get("look_vector"))
    place = _vector(root.get("position")) or _vector(frame.get("position"))
    if place is not None and len(place) == 3:
        place = (place[0], -place[2], place[1])
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
        position=place,
        vertical=velocity[1] if velocity and len(velocity) == 3 else None,  # y is up
        heading_deg=_from_above(look[0], -look[2]) if look and len(look) == 3 else None,
        gait=gait,
        episode=_episode(record),
    )


def _doom(record: Mapping[str, Any]) -> GameState:
    player = _mapping(record.get("player"))
    velocity = _vector(player.get("velocity"))
    speed = _speed(player.get("speed"), velocity[:2] if velocity else None)
    still = 5.0
    raw = player.get("state")
    activity = None if speed is None else ("standing still" if speed < still else "moving")
    if isinstance(raw, str):
        activity = _DOOM.get(raw, raw)
    return GameState(
        "the player",
        activity,
        "player.state" if isinstance(raw, str) else "player.speed",
        raw if isinstance(raw, str) else "",
        speed,
        "map units/s",
        "map units",
        _inputs(record),
        _counters(record),
        position=_vector(player.get("position")),
        vertical=velocity[2] if velocity and len(velocity) == 3 else None,
        heading_deg=_number(player.get("angle_deg")),
        still=still,
        episode=_episode(record),
    )


def _other(record: Mapping[str, Any]) -> GameState:
    name = next((n for n in _FIGURES if isinstance(record.get(n), dict)), "")
    figure = _mapping(record[name]) if name else record
    velocity, position = _vector(figure.get("velocity")), _vector(figure.get("position"))
    speed = _speed(figure.get("speed"), velocity)
    units = _mapping(record.get("units"))

    def unit(*fields: str) -> str:
        found = (units.get(f) for key in fields for f in (f"{name}.{key}", key))
        return next((u for u in found if isinstance(u, str)), "")

    length = unit("position", "length")
    said = figure.get("activity", record.get("activity"))
    activity = None if speed is None else ("standing still" if speed < STILL else "moving")
    if isinstance(said, str):
        activity = said
    known = {"activity", *_KEYS, *_COUNTERS, *(("speed",) if not name else ())}
    words = {
        key: value
        for key, value in record.items()
        if key not in known and isinstance(value, str | int | float | bool)
    }
    return GameState(
        f"the {name}" if name else "the figure" if activity else "the game",
        activity,
        "activity" if isinstance(said, str) else f"{name}.speed".lstrip("."),
        "",
        speed,
        unit("speed", "velocity") or (f"{length}/s" if length else ""),
        length,
        _inputs(record),
        _counters(record),
        words=words,
        position=position,
        heading_deg=_number(figure.get("angle_deg")),
        episode=_episode(record),
    )


def _from_above(x: float, y: float) -> float:
    return math.degrees(math.atan2(y, x))


def _inputs(record: Mapping[str, Any]) -> tuple[str, ...] | None:
    held = record.get("inputs")
    if isinstance(held, list) and all(isinstance(key, str) for key in held):
        return tuple(sorted(set(held)))
    return None


def _counters(record: Mapping[str, Any]) -> dict[str, float]:
    found = {name: _number(record.get(name)) for name in _COUNTERS}
    return {name: value for name, value in found.items() if value is not None}


def _episode(record: Mapping[str, Any]) -> str:
    found = record.get("episode")
    return "" if found is None else str(found)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    """A finite number; a game that divides by zero writes NaN."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return None
    return float(value)


def _vector(value: Any) -> tuple[float, ...] | None:
    """Two or three finite numbers, in a list or as x, y, z."""
    if isinstance(value, Mapping):
        value = [value[k] for k in ("x", "y", "z") if k in value]
    if not isinstance(value, list) or not 2 <= len(value) <= 3:
        return None
    numbers = [n for n in map(_number, value) if n is not None]
    return tuple(numbers) if len(numbers) == len(value) else None


def _speed(said: Any, velocity: tuple[float, ...] | None) -> float | None:
    found = _number(said)
    return math.hypot(*velocity) if found is None and velocity else found
