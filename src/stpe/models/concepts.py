"""Words a user asks for: lists of them by name, and which class names of a detector they mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stpe.errors import UsageError
from stpe.models.roles import TextEmbedder

PROMPT = "a photo of a {}"  # sentence embedders tell sentences apart better than bare words
#: Cosine of two prompts from which one names the other: man and person 0.92, vehicle and truck
#: 0.93, against 0.90 for player and sports ball or 0.86 for monster and dog.
SAME = 0.905

#: Lists that a request names as "@general" or "@game": what is common in videos, and in games.
LISTS: dict[str, tuple[str, ...]] = {
    "general": (
        "person", "face", "hand", "animal", "dog", "cat", "bird", "horse", "car", "truck", "bus",
        "motorcycle", "bicycle", "train", "boat", "airplane", "chair", "table", "couch", "bed",
        "door", "window", "building", "tree", "plant", "bag", "bottle", "cup", "phone", "laptop",
        "screen", "ball", "traffic light", "sign",
    ),
    "game": (
        "player character", "enemy", "monster", "weapon", "gun", "sword", "projectile",
        "explosion", "fire", "health pickup", "coin", "key", "chest", "crate", "barrel", "door",
        "platform", "ladder", "stairs", "wall", "spike trap", "checkpoint", "vehicle", "tree",
        "building", "crosshair", "health bar", "minimap", "text on screen",
    ),
}  # fmt: skip


def spelled_out(concepts: Sequence[str]) -> tuple[str, ...]:
    """Concepts with the words of the lists they name, each once.

    >>> spelled_out(["dragon", "@game"])[:3]
    ('dragon', 'player character', 'enemy')

    Raises:
        UsageError: no list has that name.
    """
    words: list[str] = []
    for concept in concepts:
        if not concept.startswith("@"):
            words.append(concept)
        elif concept[1:] in LISTS:
            words += LISTS[concept[1:]]
        else:
            there = ", ".join(f"@{name}" for name in sorted(LISTS))
            raise UsageError(f"no list of concepts is called {concept}; there are {there}")
    return tuple(dict.fromkeys(words))


def map_concepts(
    concepts: Sequence[str], labels: Sequence[str], embedder: TextEmbedder | None
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Which labels each concept stands for, and which concepts stand for none.

    A concept that is a label, up to case and plural, maps to it. Otherwise, with an embedder, it
    maps to every label near enough to be a synonym or a kind of it.

    >>> map_concepts(["Cars", "dragon"], ["person", "car"], None)
    ({'Cars': ('car',)}, ('dragon',))
    """
    by_name = {_plain(label): label for label in labels}
    mapping: dict[str, tuple[str, ...]]
    mapping = {c: (by_name[_plain(c)],) for c in concepts if _plain(c) in by_name}
    rest = [c for c in concepts if c not in mapping]
    if rest and labels and embedder is not None:
        asked, known = (
            embedder.embed_text([PROMPT.format(_plain(n)) for n in names])
            for names in (rest, labels)
        )
        for concept, row in zip(rest, asked @ known.T, strict=True):
            near = np.argsort(-row, kind="stable")
            found = tuple(labels[i] for i in near if row[i] >= SAME)
            if found:
                mapping[concept] = found
    return mapping, tuple(c for c in concepts if c not in mapping)


#: Words after which a phrase says more of the thing that it has named.
_SAID_OF_IT = frozenset({
    "about", "above", "across", "against", "along", "among", "around", "at", "before", "behind",
    "below", "beneath", "beside", "between", "by", "carrying", "down", "during", "for", "from",
    "in", "inside", "into", "near", "next", "of", "off", "on", "onto", "out", "over", "past",
    "that", "through", "to", "toward", "under", "up", "which", "who", "whose", "with", "within",
    "without",
})  # fmt: skip
_SEVERAL = re.compile(r"\s+(?:and|or|plus)\s+|[&/;+]", re.IGNORECASE)


@dataclass(frozen=True)
class Looked:
    """What phrases were taken for.

    Attributes:
        labels: labels of each word that is looked for.
        words: the words that each phrase was taken for: itself, or the things that it describes.
        warnings: phrases that were not taken whole, or not at all, each with what was done.
    """

    labels: dict[str, tuple[str, ...]]
    words: dict[str, tuple[str, ...]]
    warnings: tuple[str, ...]


def look_for(
    phrases: Sequence[str], labels: Sequence[str], embedder: TextEmbedder | None
) -> Looked:
    """What can be looked for of what phrases describe: as `map_concepts`, and a phrase that stands
    for no label as a whole is taken for the thing that it describes.

    >>> found = look_for(["person in red shirt", "big cars"], ["person", "car"], None)
    >>> found.words
    {'person in red shirt': ('person',), 'big cars': ('cars',)}
    >>> found.warnings[0]
    "'person in red shirt' was taken for 'person': no model here understands the rest"
    """
    mapping, rest = map_concepts(phrases, labels, embedder)
    words: dict[str, tuple[str, ...]] = {phrase: (phrase,) for phrase in mapping}
    warnings: list[str] = []
    parts = {phrase: [_heads(part) for part in _SEVERAL.split(phrase)] for phrase in rest}
    shorter = dict.fromkeys(h for several in parts.values() for heads in several for h in heads)
    found, _ = map_concepts(list(shorter), labels, embedder)
    for phrase in rest:
        taken = [next((h for h in heads if h in found), None) for heads in parts[phrase]]
        words[phrase] = tuple(dict.fromkeys(word for word in taken if word is not None))
        mapping |= {word: found[word] for word in words[phrase]}
        if words[phrase]:
            said = " and ".join(f"'{word}'" for word in words[phrase])
            warnings.append(f"{phrase!r} was taken for {said}: no model here understands the rest")
        else:
            warnings.append(f"no model here can find {phrase!r}")
    return Looked(mapping, {phrase: words[phrase] for phrase in phrases}, tuple(warnings))


def _heads(phrase: str) -> list[str]:
    """Shorter names of the thing that a phrase describes, the longest first.

    >>> _heads("the big dog on a sofa")
    ['the big dog', 'big dog', 'dog']
    """
    words = phrase.split()
    ends = (i for i, w in enumerate(words) if i and (w.lower() in _SAID_OF_IT or w.endswith("ing")))
    head = words[: next(ends, len(words))]
    return [" ".join(head[i:]) for i in range(len(head))]


_IRREGULAR = {
    "people": "person",
    "men": "man",
    "women": "woman",
    "mice": "mouse",
    "knives": "knife",
    "buses": "bus",
    "bus": "bus",
    "skis": "skis",
    "scissors": "scissors",
}


def _plain(name: str) -> str:
    """Lower case, single spaces, singular by English's regular endings."""
    words = name.lower().replace("_", " ").split()
    if not words:
        return ""
    last = words[-1]
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif last.endswith("ies"):
        last = last[:-3] + "y"
    elif last.endswith(("sses", "shes", "ches", "xes")):
        last = last[:-2]
    elif last.endswith("s") and not last.endswith("ss"):
        last = last[:-1]
    return " ".join([*words[:-1], last])
