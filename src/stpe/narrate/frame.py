"""Three captions of a frame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stpe import strict_json
from stpe.narrate import phrases, setting
from stpe.narrate.claims import told
from stpe.narrate.facts import Clause, FrameFacts, Thing
from stpe.narrate.words import sentence, several

_IN_FULL = 6
_RELATIONS = 4


@dataclass(frozen=True)
class Captions:
    """Three granularities; `evidence` is JSON: clause text to the keys of its rows; `claims` is
    JSON: what the clauses state, each claim with its clause (see `stpe.narrate.claims`)."""

    brief: str
    normal: str
    detailed: str
    evidence: str
    claims: str


def narrate_frame(facts: FrameFacts) -> Captions:
    """Captions of one frame, from its facts alone.

    Every sentence is one clause or several joined by semicolons; each clause stands in a caption
    word for word (but for the capital that begins a sentence) and has an entry in the evidence.
    """
    brief = [_kept([*setting.state(facts, 0), *_brief(facts)][:3])]
    normal = _one_each(
        setting.state(facts, 1),
        [phrases.who(facts, places=True), phrases.movers(facts), setting.camera(facts)],
        [
            setting.since(facts, 3, even_nothing=False),
            setting.clip_class(facts, setting.SURE_CLASS),
        ],
        [setting.context(facts)],
    )
    detailed = _one_each(
        setting.state(facts, 2),
        _each_thing(facts),
        phrases.relations(facts, _RELATIONS, among=_IN_FULL),
        [setting.camera(facts, detailed=True), setting.moved(facts)],
        [setting.since(facts, 8, even_nothing=True)],
        [setting.clip_class(facts, setting.LEAST_CLASS), setting.context(facts)],
    )
    levels = (brief, normal, detailed)
    evidence = {c.text: list(c.rows) for level in levels for group in level for c in group}
    shown = strict_json.dumps(evidence, sort_keys=True, ensure_ascii=False)
    claims = told(c for level in levels for group in level for c in group)
    return Captions(_text(brief), _text(normal), _text(detailed), shown, claims)


def _brief(facts: FrameFacts) -> Iterable[Clause | None]:
    moving = facts.camera not in (None, "static")
    return (
        phrases.who(facts, places=False),
        phrases.movers_briefly(facts),
        setting.camera(facts) if moving else None,
    )


def _each_thing(facts: FrameFacts) -> list[Clause | None]:
    things = facts.things
    if not things:
        return [phrases.who(facts, places=True)]
    found: list[Clause | None] = [phrases.who(facts, places=False)]
    by_name: dict[str, list[Thing]] = {}
    for thing in things[:_IN_FULL]:
        by_name.setdefault(phrases.name(thing, facts), []).append(thing)
    for alike in by_name.values():
        alone = len(alike) == 1
        found.append(phrases.portrait(alike[0], facts) if alone else phrases.crowd(alike, facts))
    moving = [t for t in things[:_IN_FULL] if t.moving]
    if moving:
        text = "speeds are those in the picture with camera motion taken out"
        found.append(Clause(text, [facts.object_row(t) for t in moving]))
    rest = things[_IN_FULL:]
    if rest:
        noun = "more object" if len(rest) > 1 else "further object"
        verb = "is" if len(rest) == 1 else "are"
        text = f"{several(len(rest), noun)} {verb} not described here"
        found.append(Clause(text, [facts.object_row(t) for t in rest]))
    return found


def _kept(clauses: Iterable[Clause | None]) -> list[Clause]:
    return [c for c in clauses if c is not None]


def _one_each(*groups: Iterable[Clause | None]) -> list[list[Clause]]:
    """Every clause a sentence of its own."""
    return [[clause] for group in groups for clause in _kept(group)]


def _text(sentences: Iterable[list[Clause]]) -> str:
    texts = [sentence("; ".join(c.text for c in group)) for group in sentences if group]
    return " ".join(texts) or "Nothing was measured in this frame."
