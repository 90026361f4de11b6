"""What another's text says that the facts contradict: simple checks, each of which can be read.

A sentence is compared with the claims of the same frame (`stpe.narrate.claims`): whether the camera
moves and which way, how many there are of a class, whether a class moves and which way, what the
state log's figure does and how fast. Sentences that deny or compare ("does not", "as if") are left
alone. What is found is a reason to look, not a verdict: facts can be wrong too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from stpe.narrate.words import amount, count_word, plural

Claim = Mapping[str, Any]

#: A speed in words may differ from the measured one by this share.
_SPEED_SHARE = 0.1
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+")
_DENIED = re.compile(
    r"\b(?:not?|never|nor|without|rather than|instead of|as if|as though|like an?)\b|n't\b"
)
_CAMERA = re.compile(r"\b(?:camera|viewpoint|view|shot)\b")
_STILL = re.compile(r"\b(?:static|still|stationary|fixed|motionless|steady|locked)\b")
_CAMERA_MOVES = re.compile(
    r"\b(?:pan|tilt|zoom|roll|move|travel|shift|rotate|turn|track|follow)(?:s|ed|ing|ning|ting)?\b"
)
_SIDES = {
    side: re.compile(rf"\b(?:to the |towards? the )?{side}(?:ward|wards)?\b")
    for side in ("left", "right")
}
_OPPOSITE = {"left": "right", "right": "left"}
_MOTION = re.compile(
    r"\b(?:mov|walk|runn?|driv|rid|fly|slid|roll|travel|rush|jog)(?:e|es|s|ing)?\b|\bdrifts?\b"
)
_AT_REST = re.compile(r"\b(?:stationary|motionless|parked|at rest|standing still|stands still)\b")
_FAST = re.compile(r"\b(?:fast|quickly|rapidly|high speed|full speed|sprint\w*|rush\w*)\b")
_SPEED = re.compile(
    r"(\d+(?:\.\d+)?)\s*(?:studs?|map units?|units?|m|met(?:er|re)s?)\s*(?:/\s*s|per second)"
)
_FIGURE = re.compile(
    r"\b(?:character|player|figure|avatar|humanoid|person|man|woman|he|she|they|robot|agent)\b"
)
#: What a figure may be said to do, by family. The engine's words are in here too.
_FAMILIES = {
    "dancing": r"danc(?:e|es|ing)|pirouett\w*",
    "jumping": r"jump(?:s|ing)?|leap(?:s|ing)?|hop(?:s|ping)?",
    "falling": r"fall(?:s|ing)?(?! over)|freefall\w*|plummet\w*",
    "walking": r"walk(?:s|ing)?|run(?:s|ning)?|jog(?:s|ging)?|sprint(?:s|ing)?|strid(?:es?|ing)",
    "standing": r"stand(?:s|ing)|idle|idling|still|stationary|motionless",
    "sitting": r"sit(?:s|ting)?|seated",
    "swimming": r"swim(?:s|ming)?",
    "climbing": r"climb(?:s|ing)?",
    "flying": r"fly(?:ing)?|flies|hover(?:s|ing)?",
    "kneeling": r"kneel(?:s|ing)?|crouch(?:es|ing)?",
    "lying": r"lie(?:s)?|lying|dead",
}
_FAMILY = {name: re.compile(rf"\b(?:{words})\b") for name, words in _FAMILIES.items()}
#: Families that are one another's, seen from outside.
_COMPATIBLE = {frozenset(pair) for pair in (("jumping", "falling"), ("jumping", "flying"))}


@dataclass(frozen=True)
class Contradiction:
    """A sentence and the fact against it; `kind`: camera, count, motion, direction, activity,
    speed, or declared where the text itself says that it departs from the measurements."""

    kind: str
    sentence: str
    fact: str
    row: Mapping[str, Any] | None = None


def contradictions(texts: Iterable[str], claims: Sequence[Claim]) -> list[dict[str, Any]]:
    """Every sentence of the texts that some claim contradicts, each once a kind."""
    found: dict[tuple[str, str], Contradiction] = {}
    for text in texts:
        for sentence in filter(None, (s.strip() for s in _SENTENCE.split(text))):
            for one in _against(sentence, claims):
                found.setdefault((one.kind, one.sentence), one)
    return [{k: v for k, v in asdict(one).items() if v is not None} for one in found.values()]


def _against(sentence: str, claims: Sequence[Claim]) -> Iterable[Contradiction]:
    low = sentence.lower()
    if low.startswith("contrary to the measurements"):
        yield Contradiction("declared", sentence, "the text says so itself")
        return
    yield from _counts(sentence, low, claims)
    if _DENIED.search(low):
        return
    yield from _camera(sentence, low, claims)
    yield from _objects(sentence, low, claims)
    yield from _figure(sentence, low, claims)


def _of(claims: Sequence[Claim], kind: str) -> list[Claim]:
    return [c for c in claims if c["kind"] == kind]


def _camera(sentence: str, low: str, claims: Sequence[Claim]) -> Iterable[Contradiction]:
    match = _CAMERA.search(low)
    said = _of(claims, "camera_motion")
    if match is None or not said:
        return
    claim, after = said[0], low[match.start() :]
    # Of a sentence with more than the camera in it, only the clause that names the camera.
    after = re.split(r"[,:]| while | as ", after)[0]
    motion = claim["value"]
    moves, still = _CAMERA_MOVES.search(after), _STILL.search(after)
    wrong = moves and not still if motion == "static" else still and not moves
    if wrong and motion != "cut":
        yield _contradiction("camera", sentence, claim)
    elif motion in ("pan_left", "pan_right") and moves:
        side = motion.removeprefix("pan_")
        if _SIDES[_OPPOSITE[side]].search(after) and not _SIDES[side].search(after):
            yield _contradiction("camera", sentence, claim)


def _counts(sentence: str, low: str, claims: Sequence[Claim]) -> Iterable[Contradiction]:
    for claim in _of(claims, "count"):
        label, count = str(claim["subject"]).lower(), int(claim["value"])
        if label in ("any", "object"):
            continue
        for number in range(13):
            words = {str(number), count_word(number), *(("only one", "one") if number == 1 else ())}
            noun = label if number == 1 else plural(label)
            match = rf"\b(?:{'|'.join(sorted(words))})\s+(?:\w+\s+)?{re.escape(noun)}\b"
            if number != count and re.search(match, low):
                yield _contradiction("count", sentence, claim)
                break


def _objects(sentence: str, low: str, claims: Sequence[Claim]) -> Iterable[Contradiction]:
    by_label: dict[str, list[Claim]] = {}
    for claim in _of(claims, "object_motion"):
        label = re.sub(r"^the | #\d+$| (?:at|on|in) the .*$", "", str(claim["subject"])).lower()
        by_label.setdefault(label, []).append(claim)
    for label, said in by_label.items():
        named = re.search(rf"\b(?:{re.escape(label)}|{re.escape(plural(label))})\b", low)
        if label == "object" or named is None:
            continue
        after = re.split(r"[,:]| while | as ", low[named.end() :])[0]
        moves = _MOTION.search(after)
        values = {str(claim["value"]) for claim in said}
        rest = "static" not in values and _AT_REST.search(after)
        if rest or (values == {"static"} and moves and not _STILL.search(after)):
            yield _contradiction("motion", sentence, said[0])
        elif moves and "static" not in values:
            for side, words in _SIDES.items():
                against = all(_OPPOSITE[side] in value for value in values)
                if against and words.search(after[moves.end() :]):
                    yield _contradiction("direction", sentence, said[0])


def _figure(sentence: str, low: str, claims: Sequence[Claim]) -> Iterable[Contradiction]:
    for claim in _of(claims, "speed"):
        told = _SPEED.search(low)
        if told is not None:
            true = float(claim["value"])
            if abs(float(told[1]) - true) > max(_SPEED_SHARE * abs(true), 0.5):
                yield _contradiction("speed", sentence, claim)
        elif float(claim["value"]) < 0.1 and _FIGURE.search(low) and _FAST.search(low):
            yield _contradiction("speed", sentence, claim)
    if not _FIGURE.search(low):
        return
    for claim in _of(claims, "activity"):
        known = _families(str(claim["value"]).lower()) or _families(claim["clause"].lower())
        said = _families(low)
        if not known or not said or known & said:
            continue
        if not any(frozenset((a, b)) in _COMPATIBLE for a in known for b in said):
            yield _contradiction("activity", sentence, claim)


def _families(text: str) -> set[str]:
    return {name for name, words in _FAMILY.items() if words.search(text)}


def _contradiction(kind: str, sentence: str, claim: Claim) -> Contradiction:
    value = claim["value"]
    said = amount(value, claim.get("unit", "")) if isinstance(value, int | float) else value
    fact = f"{claim['kind'].replace('_', ' ')} of {claim['subject']}: {said}"
    return Contradiction(kind, sentence, fact, claim.get("row"))
