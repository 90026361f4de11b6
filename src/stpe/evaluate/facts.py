"""What captions state, against what is true: which claims are right, and what should be said.

A claim is one entry of `frames.caption_facts` (`stpe.narrate.claims` lists the kinds), each counted
once a frame. Judged are, with these tolerances:

- `camera_motion`: that kind of motion shifts scenery 3 m away at least 0.4 times as far as the
  kind that shifts it most (`mixed`: two kinds do); `static` below STILL_DEG and STILL_M, and either
  within twice that. `camera_rotation`: within 0.5 degrees and 20 %.
- `object_motion` of an object that lies on a true one: it moves, within 67.5 degrees of that way
  where the true way is known, or stands still. `count` of a class that the truth names: exact.
- of the state log's figure: activity and keys by name, counters and their changes exactly, speed,
  displacement and turn within 5 % and one unit or degree. `event` cut: within the interval.

Everything else is not judged and counts neither as right nor as wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stpe.evaluate.matching import Scene
from stpe.evaluate.truth import Truth, TruthFrame, TruthObject
from stpe.geometry.rotation import vector_of
from stpe.narrate.words import direction

F64 = NDArray[np.float64]
Claims = Mapping[tuple[str, str], Any]

STILL_DEG, STILL_M = 0.3, 0.02
SCENE_M, TELLING = 3.0, 0.4
_TURN_TOLD, _HEADING_TOLD = 1.0, 5.0  # degrees from which a caption ought to tell a turn
_OCTANT = 67.5
_COUNTERS = ("health", "armor", "ammo", "kills")
_WORDS = (("tilt_up", "tilt_down"), ("pan_right", "pan_left"), ("roll_cw", "roll_ccw"))
#: Groups that are scored by themselves.
GROUPS = ("camera", "objects", "log")


@dataclass(frozen=True)
class Judged:
    """One claim that could be judged; `still`: whether it would be right to say static."""

    group: str
    kind: str
    right: bool
    still: bool | None = None


@dataclass(frozen=True)
class Wanted:
    """One true fact that a caption ought to tell, and whether it does."""

    group: str
    kind: str
    told: bool


@dataclass(frozen=True)
class Moment:
    """What is true at one frame and since the analysed frame before it (None for the first)."""

    truth: Truth
    frame: int
    before: int | None
    scene: Scene | None

    @property
    def here(self) -> TruthFrame | None:
        """Truth of the frame."""
        return self.truth.frames.get(self.frame)

    @property
    def then(self) -> TruthFrame | None:
        """Truth of the frame before, of the same segment."""
        last = None if self.before is None else self.truth.frames.get(self.before)
        here = self.here
        return last if last is not None and here and last.segment == here.segment else None

    @property
    def cut(self) -> bool | None:
        """Whether the shot changed since; None where the truth does not say."""
        if self.truth.transitions is None or self.before is None:
            return None
        return any(self.before < t.last and t.first <= self.frame for t in self.truth.transitions)


def judge(claims: list[dict[str, Any]], moment: Moment) -> Iterator[Judged]:
    """Every claim that the truth decides, each once."""
    seen = set()
    for claim in claims:
        key = (claim["kind"], claim["subject"], claim["value"])
        if key not in seen:
            seen.add(key)
            yield from _judge(claim, moment)


def wanted(claims: list[dict[str, Any]], moment: Moment) -> Iterator[Wanted]:
    """Every true fact of a kind that captions state, and whether a right claim states it."""
    right = {
        (c["kind"], c["subject"], str(c["value"]), _object(c))
        for c in claims
        if any(j.right for j in _judge(c, moment))
    }
    kinds = {kind for kind, *_ in right}
    words = camera_words(moment)
    if words and moment.cut is not True:
        yield Wanted("camera", "camera_motion", "camera_motion" in kinds)
    if moment.cut:
        told = any(k == "event" for k in kinds)
        yield Wanted("camera", "cut", told)
    angle = _angle(moment)
    if angle is not None and angle >= _TURN_TOLD and moment.cut is not True:
        yield Wanted("camera", "camera_rotation", "camera_rotation" in kinds)
    if moment.scene is not None:
        told_of = {
            o for kind, _, value, o in right if kind == "object_motion" and value != "static"
        }
        found = {true.identity: row["object_id"] for true, row, _ in moment.scene.pairs()}
        for true in moment.scene.truths:
            if true.moving:
                yield Wanted("objects", "object_motion", found.get(true.identity) in told_of)
    yield from _wanted_log({(kind, subject) for kind, subject, *_ in right}, moment)


def _wanted_log(right: set[tuple[str, str]], moment: Moment) -> Iterator[Wanted]:
    kinds = {kind for kind, _ in right}
    here = _state(moment.here)
    then = _state(moment.then)
    if here.get("activity"):
        yield Wanted("log", "activity", "activity" in kinds)
    for name in _COUNTERS:
        if then.get(name) is not None and here.get(name) is not None and here[name] != then[name]:
            yield Wanted("log", "counter_change", ("counter_change", name) in right)
    turn = _turn(moment)
    if turn is not None and abs(turn) >= _HEADING_TOLD:
        yield Wanted("log", "turn", "turn" in kinds)


def _judge(claim: Mapping[str, Any], moment: Moment) -> Iterator[Judged]:
    kind, subject, value = claim["kind"], claim["subject"], claim["value"]
    verdict: bool | None = None
    if kind == "camera_motion":
        words = camera_words(moment)
        if words and value != "cut":
            yield Judged("camera", kind, value in words, "static" in words)
    elif kind == "camera_rotation":
        angle = _angle(moment)
        if angle is not None:
            near = 0.5 + 0.2 * angle
            yield Judged("camera", kind, abs(value - angle) <= near, angle <= near)
    elif kind == "event" and value in ("cut", "gradual_transition"):
        if moment.cut is not None:
            yield Judged("camera", kind, moment.cut, not moment.cut)
    elif kind == "object_motion":
        yield from _object_motion(claim, moment)
    elif kind == "count":
        yield from _count(subject, value, moment)
    else:
        verdict = _log_verdict(kind, subject, value, moment)
    if verdict is not None:
        yield Judged("log", kind, verdict)


def _object_motion(claim: Mapping[str, Any], moment: Moment) -> Iterator[Judged]:
    if moment.scene is None:
        return
    number, value = _object(claim), claim["value"]
    for true, row, _ in moment.scene.pairs():
        if row["object_id"] == number and true.moving is not None:
            right = (value != "static") == true.moving
            way = _image_direction(true, moment.here)
            if right and value != "static" and way is not None:
                right = _apart(value, way) <= _OCTANT
            yield Judged("objects", "object_motion", right, not true.moving)
            return
    if any(row["object_id"] == number for row in moment.scene.scenery):
        yield Judged("objects", "object_motion", value == "static", True)


def _count(subject: str, value: Any, moment: Moment) -> Iterator[Judged]:
    objects = (moment.truth.objects or {}).get(moment.frame)
    named = moment.truth.labelled or frozenset()
    if objects is None or not moment.truth.instances:
        return
    true = sum(o.label == subject and not o.ignored for o in objects)
    if true or subject in named:
        yield Judged("objects", "count", value == true)


def _steps(counter: str, moment: Moment) -> set[float]:
    """By how much a counter changed from one frame of the video to the next, since the moment
    before."""
    if moment.before is None:
        return set()
    frames = [moment.truth.frames.get(i) for i in range(moment.before, moment.frame + 1)]
    values = [_state(frame).get(counter) for frame in frames]
    return {b - a for a, b in pairwise(values) if a is not None and b is not None and a != b}


def _log_verdict(kind: str, subject: str, value: Any, moment: Moment) -> bool | None:
    here, then = _state(moment.here), _state(moment.then)
    if kind == "activity" and here.get("activity"):
        return bool(value == here["activity"])
    if kind == "input" and value == "held" and here.get("buttons") is not None:
        if subject in ("TURN_LEFT", "TURN_RIGHT"):  # an axis of the mouse, not a button
            left = here["turn_deg"] < 0
            return bool((subject == "TURN_LEFT") == left and here["turn_deg"] != 0)
        return bool(subject in here["buttons"])
    if kind == "counter" and here.get(subject) is not None:
        return bool(value == here[subject])
    if kind == "counter_change" and None not in (here.get(subject), then.get(subject)):
        # Several changes may lie between two frames, each told as an event of its own.
        return bool(value == here[subject] - then[subject] or value in _steps(subject, moment))
    if kind == "speed" and here.get("velocity") is not None:
        return _near(value, math.hypot(*here["velocity"][:2]), 1.0)
    if kind == "displacement" and here.get("position") is not None and then.get("position"):
        return _near(value, math.dist(here["position"], then["position"]), 1.0)
    if kind == "turn":
        turn = _turn(moment)
        return None if turn is None else _near(value, turn, 1.0)
    return None


def camera_words(moment: Moment) -> frozenset[str]:
    """What may rightly be said of the camera since the frame before; empty where not known."""
    step = _step(moment)
    if step is None:
        return frozenset()
    turned = np.degrees(vector_of(step[:3, :3]))
    angle, far = float(np.linalg.norm(turned)), float(np.linalg.norm(step[:3, 3]))
    least = STILL_M if moment.truth.metric else 1e-6
    words = set()
    if angle < 2 * STILL_DEG and far < 2 * least:
        words.add("static")
        if angle < STILL_DEG and far < least:
            return frozenset(words)
    # How far each kind shifts scenery at SCENE_M, in degrees of view.
    shifts = {}
    for value, (up, down) in zip(turned, _WORDS, strict=True):
        shifts[up if value > 0 else down] = float(abs(value))
    if far >= least:
        far_m = far if moment.truth.metric else SCENE_M
        shifts["translate"] = math.degrees(math.atan(far_m / SCENE_M))
    most = max(shifts.values())
    told = {word for word, shift in shifts.items() if shift >= TELLING * most}
    words |= told
    if "translate" in told and abs(step[2, 3]) >= 0.5 * far:
        words.add("zoom_in" if step[2, 3] > 0 else "zoom_out")
    if len(told) > 1:
        words.add("mixed")
    return frozenset(words)


def _step(moment: Moment) -> F64 | None:
    if moment.before is None:
        return None
    return moment.truth.camera_step(moment.before, moment.frame)


def _angle(moment: Moment) -> float | None:
    step = _step(moment)
    return None if step is None else float(np.degrees(np.linalg.norm(vector_of(step[:3, :3]))))


def _turn(moment: Moment) -> float | None:
    a, b = _state(moment.then).get("angle_deg"), _state(moment.here).get("angle_deg")
    return None if a is None or b is None else (b - a + 180) % 360 - 180


def _state(frame: TruthFrame | None) -> Mapping[str, Any]:
    return frame.state if frame is not None and frame.state is not None else {}


def _object(claim: Mapping[str, Any]) -> int | None:
    row = claim.get("row") or {}
    return row.get("object_id") if row.get("table") == "objects" else None


def _image_direction(true: TruthObject, frame: TruthFrame | None) -> str | None:
    """Where its own motion takes it in the picture, as a word; None where it hardly does."""
    if frame is None or true.position is None or true.velocity is None:
        return None
    pose, camera = frame.camera_to_world_44, frame.intrinsics
    if pose is None or camera is None:
        return None
    pixels = []
    for place in (np.array(true.position), np.array(true.position) + 0.2 * np.array(true.velocity)):
        x, y, z = pose[:3, :3].T @ (place - pose[:3, 3])
        if z <= 0:
            return None
        pixels.append((camera.fx * x / z, camera.fy * y / z))
    (x0, y0), (x1, y1) = pixels
    return direction(x1 - x0, y1 - y0) if math.hypot(x1 - x0, y1 - y0) >= 1 else None


def _apart(a: str, b: str) -> float:
    """Degrees between two of the eight ways."""
    ways = [direction(math.cos(k * math.pi / 4), math.sin(k * math.pi / 4)) for k in range(8)]
    steps = abs(ways.index(a) - ways.index(b))
    return 45.0 * min(steps, 8 - steps)


def _near(value: float, true: float, slack: float) -> bool:
    return abs(value - true) <= slack + 0.05 * abs(true)
