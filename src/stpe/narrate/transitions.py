"""What changed in a state log, when, why and by how much.

A change of what the figure does is put down to the keys pressed or released up to CAUSE_S before
it; the speeds told are the last before the cause and the most different within SETTLE_S after the
effect, unless the speed was changing that way already. Records are as dense as the log is, so what
happens between two analysed frames is seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from stpe.narrate.state import GameState
from stpe.narrate.words import amount, listed, number

#: A key that was pressed or released longer ago is not the cause. A tenth of a second of reaction
#: in the game and the spacing of sparse logs are within it.
CAUSE_S = 0.3
SETTLE_S = 0.2
#: A speed change is told above this many times the game's speed of standing still, and this share.
_CHANGE, _SHARE = 10.0, 0.2

Sample = tuple[float, GameState]


@dataclass(frozen=True)
class Transition:
    """One change: when, as a clause without capital and full stop, and the numbers behind it."""

    pts: float
    text: str
    evidence: Mapping[str, Any]


@dataclass
class _Change:
    """Keys, an activity, or both: what one sentence tells. Positions are those of samples."""

    first: int
    last: int
    pressed: tuple[str, ...] = ()
    released: tuple[str, ...] = ()
    activity: bool = False


def transitions(samples: Sequence[Sample]) -> list[Transition]:
    """Every change between consecutive records of one game, in time order.

    Args:
        samples: (seconds, record), ascending. A record of another episode starts afresh.
    """
    found: list[Transition] = []
    for start, stop in _episodes(samples):
        part = samples[start:stop]
        found += [_told(part, change) for change in _changes(part)]
        for i in range(1, len(part)):
            found += _values(part[i][0], part[i - 1][1], part[i][1])
    return sorted(found, key=lambda t: t.pts)


def _episodes(samples: Sequence[Sample]) -> Iterator[tuple[int, int]]:
    start = 0
    for i in range(1, len(samples) + 1):
        if i == len(samples) or samples[i][1].episode != samples[i - 1][1].episode:
            yield start, i
            start = i


def _changes(samples: Sequence[Sample]) -> list[_Change]:
    """Keys and activities, an activity joined to the keys that it follows closely."""
    found: list[_Change] = []
    for i in range(1, len(samples)):
        before, (pts, now) = samples[i - 1][1], samples[i]
        held, were = now.inputs, before.inputs
        if held is not None and were is not None and held != were:
            pressed = tuple(k for k in held if k not in were)
            released = tuple(k for k in were if k not in held)
            found.append(_Change(i, i, pressed, released))
        if before.activity and now.activity and before.activity != now.activity:
            cause = found[-1] if found else None
            near = cause is not None and (
                pts - samples[cause.first][0] <= CAUSE_S or cause.first == i
            )
            if cause is not None and near and not cause.activity:
                cause.last, cause.activity = i, True
            else:
                found.append(_Change(i, i, activity=True))
    return found


def _told(samples: Sequence[Sample], change: _Change) -> Transition:
    pts = samples[change.first][0]
    before = samples[change.first - 1][1]
    after = samples[change.last][1]
    parts = []
    evidence: dict[str, Any] = {}
    if change.pressed or change.released:
        verbs = (("pressed", change.pressed), ("released", change.released))
        keys = listed([f"{verb} {listed(names)}" for verb, names in verbs if names])
        parts.append(keys + (f" while {before.activity}" if before.activity else ""))
        evidence |= {"key": "inputs", "from": list(before.inputs or ())}
        evidence |= {"to": list(samples[change.first][1].inputs or ())}
        evidence |= {"pressed": list(change.pressed), "released": list(change.released)}
    for name, word in (("vertical", "vertical velocity"), ("speed", "speed")):
        pair = _extreme(samples, change, name, before)
        if pair is None or (name == "speed" and "vertical_velocity_from" in evidence):
            continue  # a figure that leaves the ground has a higher speed too: said once
        verb = "rose" if pair[1] > pair[0] else "fell"
        unit = before.speed_unit
        parts.append(f"{word} {verb} from {number(pair[0])} to {amount(pair[1], unit)}")
        key = word.replace(" ", "_")
        evidence |= {f"{key}_from": pair[0], f"{key}_to": pair[1], "unit": unit}
    if change.activity:
        parts.append(f"{after.who} went from {before.activity} to {after.activity}")
        raw = (before.activity_raw or before.activity, after.activity_raw or after.activity)
        evidence |= {"key": after.activity_key, "from": raw[0], "to": raw[1]}
        if change.last > change.first:
            evidence["after_s"] = round(samples[change.last][0] - pts, 4)
    return Transition(pts, "; ".join(parts), evidence)


def _extreme(
    samples: Sequence[Sample], change: _Change, name: str, before: GameState
) -> tuple[float, float] | None:
    """(value before, value after that differs most) where the difference is worth telling and was
    not under way before the change."""
    was = getattr(before, name)
    if was is None:
        return None
    until = samples[change.last][0] + SETTLE_S
    known = []
    for pts, state in islice(samples, change.first, None):
        if pts > until:
            break
        value = getattr(state, name)
        known += [] if value is None else [value]
    if not known:
        return None
    now = max(known, key=lambda value: abs(value - was))
    least = max(_CHANGE * before.still, _SHARE * max(abs(was), abs(now)))
    if abs(now - was) < least or (was - _earlier(samples, change, name, was)) / (now - was) > 0.5:
        return None
    return was, now


def _earlier(samples: Sequence[Sample], change: _Change, name: str, was: float) -> float:
    """The value SETTLE_S before the change, or the oldest known since."""
    value, begun = was, samples[change.first][0]
    for pts, state in (samples[i] for i in range(change.first - 1, -1, -1)):
        if begun - pts > SETTLE_S + 1e-9:
            break
        found = getattr(state, name)
        value = value if found is None else found
    return value


def _values(pts: float, before: GameState, now: GameState) -> list[Transition]:
    """Counters and plain words that changed, and the ground."""
    found = []
    for name, value in now.counters.items():
        was = before.counters.get(name)
        if was is not None and was != value:
            verb = "fell" if value < was else "rose"
            text = f"{name} {verb} from {number(was, 4)} to {number(value, 4)}"
            found.append(Transition(pts, text, {"key": name, "from": was, "to": value}))
    for name, word in now.words.items():
        previous = before.words.get(name)
        if isinstance(word, str | bool) and previous is not None and previous != word:
            text = f"{name.replace('_', ' ')} changed from {previous} to {word}"
            found.append(Transition(pts, text, {"key": name, "from": previous, "to": word}))
    if before.ground and now.ground and before.ground != now.ground:
        text = f"{now.who} went from the {before.ground} to the {now.ground}"
        evidence = {"key": "ground", "from": before.ground, "to": now.ground}
        found.append(Transition(pts, text, evidence))
    return found
