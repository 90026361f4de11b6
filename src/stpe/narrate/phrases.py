"""Clauses about the things in view. Each states what some rows hold, and names those rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from stpe.narrate.claims import motion_claims
from stpe.narrate.facts import UNNAMED, Claim, Clause, FrameFacts, Thing
from stpe.narrate.words import (
    article,
    count_word,
    direction,
    hedged,
    listed,
    number,
    percent,
    place,
    plural,
    several,
    size_word,
)

LEAST_RELATION = 0.4
#: Most telling first.
_RELATIONS = {
    "approaching": "is getting closer to",
    "following": "follows",
    "inside": "is inside the outline of",
    "in_front_of": "is in front of",
    "overlapping": "overlaps",
    "near": "is near",
    "left_of": "is left of",
    "above": "is above",
}


def _groups(things: Sequence[Thing]) -> list[list[Thing]]:
    """Things by label, the most salient label first."""
    by_label = groupby(sorted(things, key=lambda t: t.label), key=lambda t: t.label)
    return sorted((list(group) for _, group in by_label), key=lambda g: min(t.salience for t in g))


def who(facts: FrameFacts, places: bool) -> Clause | None:
    """Who is in view: named classes with counts, class-agnostic ones as objects."""
    if facts.things is None:
        return None
    named = [t for t in facts.things if t.named]
    unnamed = sorted(
        (t for t in facts.things if not t.named), key=lambda t: (-t.share, t.object_id)
    )
    if not facts.things:
        return Clause("no object was found", [facts.row], [Claim("count", "any", 0)])
    parts, told, claims = [], list(named), list[Claim]()
    groups = _groups(named)
    for group in groups[:4]:
        phrase = several(len(group), group[0].label)
        if places and len(group) <= 3:
            phrase += " " + _places(group, facts.size)
        parts.append(hedged(phrase, max(t.confidence for t in group)))
        claims.append(Claim("count", group[0].label, len(group)))
    if len(groups) > 4:
        rest = sum(len(group) for group in groups[4:])
        parts.append("another thing" if rest == 1 else f"{count_word(rest)} other things")
    if unnamed and (places or not named):
        told += unnamed
        parts.append(_unnamed(unnamed, facts.size))
        claims.append(Claim("count", "any", len(facts.things)))
    singular = len(parts) == 1 and len(told) == 1
    rows = [facts.object_row(t) for t in told]
    return Clause(f"{listed(parts)} {'is' if singular else 'are'} in view", rows, claims)


def _places(group: Sequence[Thing], size: tuple[int, int]) -> str:
    found = list(dict.fromkeys(place(t.box, *size) for t in group))
    return listed(found)


def _unnamed(things: Sequence[Thing], size: tuple[int, int]) -> str:
    """The largest is described by where it is; a lone object by its size too."""
    noun = f"unnamed {UNNAMED}"
    largest = things[0]
    where = place(largest.box, *size)
    if len(things) == 1:
        return article(f"{size_word(largest.share)} {noun}".strip()) + f" {where}"
    phrase = several(len(things), noun)
    return f"{phrase}, the largest {where},"


def name(thing: Thing, facts: FrameFacts) -> str:
    """`person #3`; without an identity, `the person on the left`."""
    if thing.track_id is not None:
        return f"{thing.label} #{thing.track_id}"
    return f"the {thing.label} {place(thing.box, *facts.size)}"


def movers_briefly(facts: FrameFacts) -> Clause | None:
    """What moves by itself, by class: `one person moves right`."""
    things = facts.things or ()
    moving = [t for t in things if t.moving]
    if any(t.named for t in moving):
        moving = [t for t in moving if t.named]
    parts = []
    told: list[Thing] = []
    for group in _groups(moving)[:2]:
        label, alike = group[0].label, sum(t.label == group[0].label for t in things)
        ways = {direction(*t.velocity) for t in group if t.velocity is not None}
        way = f" {ways.pop()}" if len(ways) == 1 else ""
        if len(group) == 1:
            subject = f"the {label}" if alike == 1 else f"one {label}"
            phrase = f"{subject} moves{way}"
        else:
            phrase = f"{count_word(len(group))} {plural(label)} move{way}"
        parts.append(hedged(phrase, max(t.motion_confidence or 0.0 for t in group)))
        told += group
    if not parts:
        return None
    return Clause(listed(parts), [facts.object_row(t) for t in told], _claims(told, facts))


def movers(facts: FrameFacts, most: int = 3) -> Clause | None:
    """What moves by itself, each with direction and speed; or that nothing does."""
    things = facts.things or ()
    moving = [t for t in things if t.moving]
    if moving:
        parts = [f"{name(t, facts)} {_motion(t)}" for t in moving[:most]]
        if len(moving) > most:
            rest = len(moving) - most
            parts.append(f"{count_word(rest)} more {'moves' if rest == 1 else 'move'}")
        rows = [facts.object_row(t) for t in moving]
        return Clause(listed(parts), rows, _claims(moving[:most], facts))
    known = [t for t in things if t.motion == "static"]
    if known and len(known) == len(things):
        rows = [facts.object_row(t) for t in known]
        text = "nothing in view was seen to move by itself"
        return Clause(text, rows, _claims(known, facts))
    return None


def _claims(things: Sequence[Thing], facts: FrameFacts) -> list[Claim]:
    told = (motion_claims(t, name(t, facts), facts.object_row(t)) for t in things)
    return [claim for claims in told for claim in claims]


def _motion(thing: Thing, spread: bool = False) -> str:
    assert thing.velocity is not None
    vx, vy = thing.velocity
    phrase = f"moves {direction(vx, vy)} at {number((vx * vx + vy * vy) ** 0.5, 2)} px/s"
    if spread and thing.velocity_std:
        phrase += f" (± {number(thing.velocity_std, 2)} px/s)"
    return hedged(phrase, thing.motion_confidence)


def portrait(thing: Thing, facts: FrameFacts) -> Clause:
    """One thing in full: place, size, motion."""
    label = hedged("", thing.confidence).strip()
    doubt = f" ({label} {article(thing.label)})" if label and thing.named else ""
    text = f"{name(thing, facts)}{doubt} "
    if thing.track_id is None:
        text += f"fills {percent(thing.share)} of the frame"
    else:
        text += f"is {place(thing.box, *facts.size)}, filling {percent(thing.share)} of the frame"
    if thing.moving:
        text += f", and {_motion(thing, spread=True)}"
    elif thing.motion == "static":
        text += f", and {hedged('stays still', thing.motion_confidence)}"
    return Clause(text, [facts.object_row(thing)], _claims([thing], facts))


def crowd(things: Sequence[Thing], facts: FrameFacts) -> Clause:
    """Things without identity that share label and place, which no name tells apart."""
    sure = max(t.confidence for t in things)
    phrase = hedged(several(len(things), things[0].label), sure)
    where = place(things[0].box, *facts.size)
    largest = percent(max(t.share for t in things))
    text = f"{phrase} {where} cannot be told apart; the largest fills {largest} of the frame"
    return Clause(text, [facts.object_row(t) for t in things])


def relations(facts: FrameFacts, most: int, among: int) -> list[Clause]:
    """The most telling relations among the first things, as far as names tell them apart: one
    a pair, and one movement a subject."""
    told_of = (facts.things or ())[:among]
    names = Counter(name(t, facts) for t in facts.things or ())
    things = {t.object_id: t for t in told_of if names[name(t, facts)] == 1}
    order = list(_RELATIONS)
    ranked = sorted(
        (
            r
            for r in facts.relations
            if r["confidence"] >= LEAST_RELATION
            and r["subject_object_id"] in things
            and r["object_object_id"] in things
        ),
        key=lambda r: (
            things[r["subject_object_id"]].salience[:1]
            + things[r["object_object_id"]].salience[:1],
            order.index(r["relation"]),
            -r["confidence"],
            r["subject_object_id"],
            r["object_object_id"],
        ),
    )
    found: list[Clause] = []
    pairs: set[frozenset[int]] = set()
    told: set[tuple[int, bool]] = set()
    for row in ranked:
        pair = frozenset((row["subject_object_id"], row["object_object_id"]))
        moves_too = (row["subject_object_id"], row["relation"] in ("approaching", "following"))
        if pair in pairs or moves_too in told or len(found) == most:
            continue
        pairs.add(pair)
        if moves_too[1]:
            told.add(moves_too)
        subject, object_ = (things[row[k]] for k in ("subject_object_id", "object_object_id"))
        text = f"{name(subject, facts)} {hedged(_RELATIONS[row['relation']], row['confidence'])} "
        keys = ("frame_index", "subject_object_id", "object_object_id", "relation")
        rows = [{"table": "relations", **{k: row[k] for k in keys}}]
        what = f"{row['relation']} {name(object_, facts)}"
        claims = [Claim("relation", name(subject, facts), what, "", rows[0])]
        found.append(Clause(text + name(object_, facts), rows, claims))
    return found
