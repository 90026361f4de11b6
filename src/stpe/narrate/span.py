"""Captions of a shot and the summary of a video, from what was told of their frames."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stpe.narrate.facts import UNNAMED, FrameFacts
from stpe.narrate.setting import LEAST_CLASS, SURE_CLASS, best_class
from stpe.narrate.state import GameState
from stpe.narrate.words import (
    amount,
    article,
    camera_does,
    count_word,
    hedged,
    listed,
    lower_first,
    moves,
    number,
    seconds,
    sentence,
    several,
)

_EVENTS_TOLD = 12
_KINDS = {
    "appears": ("appearance", "appearances"),
    "disappears": ("disappearance", "disappearances"),
    "starts": ("start of motion", "starts of motion"),
    "stops": ("stop", "stops"),
    "accelerates": ("acceleration", "accelerations"),
    "collides": ("possible collision", "possible collisions"),
    "state_transition": ("change in the game state", "changes in the game state"),
    "cut": ("cut", "cuts"),
    "gradual_transition": ("gradual transition", "gradual transitions"),
    "camera_starts": ("start of camera motion", "starts of camera motion"),
    "camera_stops": ("stop of the camera", "stops of the camera"),
}
_SURE_LABEL = 0.6
_CAMERA_LEAST_SHARE = 0.15
_CAMERA_THROUGHOUT = 0.75  # of the intervals: what the camera did then is said of the whole


@dataclass
class Activity:
    """What the state log's figure does for a while, and its slowest and fastest speed."""

    who: str
    does: str
    unit: str
    gait: str
    seconds: float = 0.0
    speeds: tuple[float, float] = (math.inf, 0.0)

    @property
    def text(self) -> str:
        """`running at 16 studs/s (walking pace)`."""
        if self.speeds[1] == 0.0:
            return self.does
        slow, fast = (number(speed, 2) for speed in self.speeds)
        at = amount(self.speeds[1], self.unit, 2)
        text = f"{self.does} at {at if slow == fast else f'{slow} to {at}'}"
        return f"{text} ({self.gait})" if self.gait else text


@dataclass
class Span:
    """What is remembered of a stretch of frames; `add` each frame, in order.

    Attributes:
        frames: how many. seconds_each: what one frame stands for.
        peak: label to the most instances in one frame, and the best confidence.
        seen: label to the number of frames it was seen in.
        movers: label to identities that moved.
        camera_s: camera word to seconds. activities: what the log's figure does, in order.
        classes: clip number to its best class. events: rows, in order.
    """

    seconds_each: float
    frames: int = 0
    looked: bool = False
    peak: dict[str, tuple[int, float]] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    movers: dict[str, set[int]] = field(default_factory=dict)
    camera_s: dict[str, float] = field(default_factory=dict)
    activities: list[Activity] = field(default_factory=list)
    classes: dict[int, tuple[str, float]] = field(default_factory=dict)
    events: list[Mapping[str, Any]] = field(default_factory=list)

    def add(self, facts: FrameFacts) -> None:
        """Remember a frame."""
        self.frames += 1
        self.looked |= facts.things is not None
        counts: dict[str, tuple[int, float]] = {}
        for thing in facts.things or ():
            count, best = counts.get(thing.label, (0, 0.0))
            counts[thing.label] = (count + 1, max(best, thing.confidence))
            if thing.moving and thing.track_id is not None:
                self.movers.setdefault(thing.label, set()).add(thing.track_id)
        for label, (count, best) in counts.items():
            most, surest = self.peak.get(label, (0, 0.0))
            self.seen[label] += 1
            self.peak[label] = (max(count, most), max(best, surest))
        if facts.camera is not None and moves(facts.camera) is not None:
            self.camera_s[facts.camera] = self.camera_s.get(facts.camera, 0.0) + self.seconds_each
        if facts.state is not None and facts.state.activity is not None:
            self._does(facts.state)
        action_shown = best_class(facts.clip)
        if facts.clip is not None and action_shown is not None:
            self.classes[facts.clip["clip_id"]] = action_shown
        self.events += facts.events or ()

    def _does(self, state: GameState) -> None:
        last = self.activities[-1] if self.activities else None
        if last is None or (last.who, last.does) != (state.who, state.activity):
            last = Activity(state.who, str(state.activity), state.speed_unit, state.gait)
            self.activities.append(last)
        last.seconds += self.seconds_each
        if state.speed is not None and state.speed >= state.still:
            last.speeds = (min(last.speeds[0], state.speed), max(last.speeds[1], state.speed))


def who(span: Span) -> str | None:
    """`up to two people and a dog are in view`. A class met in one frame alone, and not surely,
    is no more than a slip of the detector and is left out."""
    if not span.looked:
        return None
    named = {
        label: (count, best)
        for label, (count, best) in span.peak.items()
        if label != UNNAMED and (span.seen[label] > 1 or best >= _SURE_LABEL)
    }
    shown = named or {k: v for k, v in span.peak.items() if k == UNNAMED} or span.peak
    if not shown:
        return "no object was found"
    ranked = sorted(shown.items(), key=lambda item: (-item[1][1], -item[1][0], item[0]))
    parts = []
    for label, (count, best) in ranked[:4]:
        noun = f"unnamed {label}" if label == UNNAMED else label
        phrase = several(count, noun)
        parts.append(hedged(f"up to {phrase}" if count > 1 else phrase, best))
    if len(ranked) > 4:
        rest = len(ranked) - 4
        kinds = "another kind" if rest == 1 else f"{count_word(rest)} more kinds"
        parts.append(f"{kinds} of thing")
    single = len(parts) == 1 and shown[ranked[0][0]][0] == 1
    return f"{listed(parts)} {'is' if single else 'are'} in view"


def camera(span: Span) -> str | None:
    """What the camera does for how long."""
    total = sum(span.camera_s.values())
    ranked = sorted(span.camera_s.items(), key=lambda item: (-item[1], item[0]))
    told = [(word, s) for word, s in ranked if s >= _CAMERA_LEAST_SHARE * total][:4]
    if not told:
        return None
    whole = (span.frames - 1) * span.seconds_each
    if len(span.camera_s) == 1 and total >= _CAMERA_THROUGHOUT * whole:
        return f"the camera {camera_does(told[0][0])}"
    parts = [f"{camera_does(word)} for about {seconds(s)}" for word, s in told]
    return f"the camera {listed(parts)}"


def activity(span: Span) -> str | None:
    """What the state log says the figure does, in order."""
    if not span.activities:
        return None
    who_ = span.activities[0].who
    if len(span.activities) <= 3:
        return f"{who_} is {', then '.join(a.text for a in span.activities)}"
    spent: dict[str, float] = {}
    for does in span.activities:
        spent[does.does] = spent.get(does.does, 0.0) + does.seconds
    ranked = sorted(spent.items(), key=lambda item: (-item[1], item[0]))[:4]
    return f"{who_} is by turns {listed([f'{does} (about {seconds(s)})' for does, s in ranked])}"


def movers(span: Span) -> str | None:
    """How many identities moved, by class."""
    named = {label: ids for label, ids in span.movers.items() if label != UNNAMED}
    shown = named or span.movers
    if not shown:
        return None
    parts = [several(len(ids), label) for label, ids in sorted(shown.items())]
    single = len(parts) == 1 and len(next(iter(shown.values()))) == 1
    return f"{listed(parts[:4])} {'was' if single else 'were'} seen to move"


def action(span: Span, least: float) -> str | None:
    """The clip classes met most surely, each once."""
    best: dict[str, float] = {}
    for label, p in span.classes.values():
        best[label] = max(best.get(label, 0.0), p)
    ranked = sorted(best.items(), key=lambda item: (-item[1], item[0]))
    told = [f"{label} (p = {number(p, 2)})" for label, p in ranked if p >= least][:3]
    if not told:
        return None
    sure = ranked[0][1] >= SURE_CLASS
    return f"the action looks {'like' if sure else 'a little like'} {listed(told)}"


def narrate_shot(span: Span, shot: Mapping[str, Any], context: str = "") -> dict[str, str]:
    """`caption_brief`, `caption_normal` and `caption_detailed` of a shot."""
    length = shot["end_pts"] - shot["start_pts"]
    opening = {
        "cut": " and begins with a cut",
        "gradual": " and begins with a gradual transition",
    }.get(shot["transition"], "")
    when = (
        f"shot {shot['shot_id']} lasts {seconds(length)}, from {seconds(shot['start_pts'])} "
        f"to {seconds(shot['end_pts'])}{opening}"
    )
    still = set(span.camera_s) <= {"static"}
    brief = [activity(span), who(span), None if still else camera(span)]
    normal = [when, activity(span), who(span), movers(span), camera(span)]
    normal += [action(span, SURE_CLASS)]
    detailed = [*normal[:-1], action(span, LEAST_CLASS), *_told(span), _given(context)]
    return {
        "caption_brief": _joined([p for p in brief if p][:3]),
        "caption_normal": _sentences([*normal, _given(context)]),
        "caption_detailed": _sentences(detailed),
    }


def narrate_video(
    span: Span, duration_s: float | None, shots: int | None, context: str = ""
) -> str:
    """The summary of a video."""
    length = "a video" if not duration_s else f"a video of {seconds(duration_s)}"
    if shots:
        length += f" in {several(shots, 'shot') if shots > 1 else 'one shot'}"
    counts = Counter(event["kind"] for event in span.events)
    counted = [
        article(one) if counts[kind] == 1 else f"{count_word(counts[kind])} {many}"
        for kind, (one, many) in _KINDS.items()
        if counts[kind]
    ]
    verb = "is" if counts.total() == 1 else "are"
    events = f"there {verb} {listed(counted)}" if counted else None
    parts = [length, activity(span), who(span), movers(span), camera(span)]
    return _sentences([*parts, action(span, LEAST_CLASS), events, _given(context)])


def _told(span: Span) -> list[str]:
    """The surest events, in time order, with their times."""
    order = sorted(span.events, key=lambda e: (-e["confidence"], e["event_id"]))[:_EVENTS_TOLD]
    told = [
        f"at {seconds(e['pts'])}: "
        + hedged(lower_first(e["description"].rstrip(".")), e["confidence"])
        for e in sorted(order, key=lambda e: e["event_id"])
    ]
    left = len(span.events) - len(order)
    if left:
        verb = "is" if left == 1 else "are"
        others = "another event" if left == 1 else f"{count_word(left)} other events"
        told.append(f"{others} {verb} not told here")
    return told


def _given(context: str) -> str | None:
    said = context.strip().rstrip(".")
    return f'context given by the user, not measured: "{said}"' if said else None


def _joined(parts: Sequence[str]) -> str:
    return sentence("; ".join(parts)) if parts else "Nothing was measured in this shot."


def _sentences(parts: Sequence[str | None]) -> str:
    return " ".join(sentence(p) for p in parts if p)
