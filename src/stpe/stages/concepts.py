"""Words a user asks for, mapped to the class names a detector knows."""

from __future__ import annotations

from collections.abc import Sequence

from stpe.models.roles import TextEmbedder

#: Cosine from which two names mean the same to a sentence embedder; see `map_concepts`.
SAME = 0.8


def map_concepts(
    concepts: Sequence[str], labels: Sequence[str], embedder: TextEmbedder | None
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Which labels each concept stands for, and which concepts stand for none.

    A concept that is a label, up to case and plural, maps to it. Otherwise, with an embedder, it
    maps to the nearest label, if that is near enough to be a synonym.

    >>> map_concepts(["Cars", "dragon"], ["person", "car"], None)
    ({'Cars': ('car',)}, ('dragon',))
    """
    by_name = {_plain(label): label for label in labels}
    mapping: dict[str, tuple[str, ...]]
    mapping = {c: (by_name[_plain(c)],) for c in concepts if _plain(c) in by_name}
    rest = [c for c in concepts if c not in mapping]
    if rest and labels and embedder is not None:
        similar = embedder.embed_text(rest) @ embedder.embed_text(list(labels)).T
        for concept, row in zip(rest, similar, strict=True):
            if row.max() >= SAME:
                mapping[concept] = (labels[int(row.argmax())],)
    return mapping, tuple(c for c in concepts if c not in mapping)


def _plain(name: str) -> str:
    """Lower case, single spaces, singular by English's regular endings."""
    name = " ".join(name.lower().replace("_", " ").split())
    for ending, instead in (("ies", "y"), ("ses", "s"), ("xes", "x"), ("ches", "ch")):
        if name.endswith(ending):
            return name[: -len(ending)] + instead
    irregular = {"people": "person", "persons": "person", "knives": "knife", "mice": "mouse"}
    if name in irregular:
        return irregular[name]
    return name[:-1] if name.endswith("s") and not name.endswith("ss") else name
