"""Words a user asks for: lists of them by name, and which class names of a detector they mean."""

from __future__ import annotations

from collections.abc import Sequence

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
