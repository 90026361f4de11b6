"""Ranking moments by words: exact matches of labels and words, and meaning by vectors."""

from __future__ import annotations

import math
import re
from collections import Counter

import numpy as np

from stpe.dataset.reader import Dataset
from stpe.search.moments import Moments, Scores
from stpe.search.vectors import PhraseVectors

#: Captions that are embedded. `caption_detailed` says the same with more numbers; its words count.
_MEANT = ("caption_brief", "caption_normal")


class Texts:
    """What is said about each moment of a dataset."""

    def __init__(self, dataset: Dataset, found: Moments) -> None:
        place = {
            key: n for n, key in enumerate(zip(found.video_ids, found.frame_indices, strict=True))
        }
        self._words: list[set[str]] = [set() for _ in range(len(found))]
        self._labels: list[dict[str, float]] = [{} for _ in range(len(found))]
        # A phrase belongs to many moments, so moments hold its number.
        self._numbers: dict[str, int] = {}
        self._said: list[list[int]] = [[] for _ in range(len(found))]
        columns = [*_MEANT, "caption_detailed"]
        for number, row in enumerate(dataset.arrow("frames", columns=columns).to_pylist()):
            for name, text in row.items():
                self._say(number, text, meant=name in _MEANT)
        columns = ["video_id", "frame_index", "description"]
        for row in dataset.arrow("events", columns=columns).to_pylist():
            event = place.get((row["video_id"], row["frame_index"]))
            if event is not None:
                self._say(event, row["description"], meant=True)
        columns = ["video_id", "frame_index", "label", "confidence"]
        for row in dataset.arrow("objects", columns=columns).to_pylist():
            frame = place.get((row["video_id"], row["frame_index"]))
            if frame is not None and row["label"]:
                held = self._labels[frame]
                label = row["label"].casefold()
                held[label] = max(held.get(label, 0.0), row["confidence"] or 0.0)

    def _say(self, moment: int, text: str | None, meant: bool) -> None:
        if not text:
            return
        self._words[moment].update(words(text))
        if meant:
            self._said[moment] += [
                self._numbers.setdefault(phrase, len(self._numbers)) for phrase in phrases(text)
            ]

    def exact(self, query: str) -> tuple[Scores, list[str]]:
        """How much of the query is said at each moment, and which words; NaN where nothing is.

        Words count by rarity, log(1 + moments / moments with the word). An object whose label is
        in the query adds up to half of that again, by its confidence.
        """
        wanted = set(words(query))
        matched: list[set[str]] = []
        trust: list[float] = []
        for said, labels in zip(self._words, self._labels, strict=True):
            seen = {label: c for label, c in labels.items() if set(words(label)) <= wanted}
            there = {word for label in seen for word in words(label)}
            matched.append(there | (wanted & said))
            trust.append(max(seen.values(), default=0.0))
        common = Counter(word for there in matched for word in there)
        weight = {word: math.log1p(len(matched) / n) for word, n in common.items()}
        scores = np.full(len(matched), np.nan)
        for number, there in enumerate(matched):
            if there:
                scores[number] = sum(weight[word] for word in there) * (1 + trust[number] / 2)
        return scores, [", ".join(sorted(there)) for there in matched]

    def meaning(self, query: str, vectors: PhraseVectors) -> tuple[Scores, list[str]]:
        """Cosine of the query and the nearest phrase at each moment, and that phrase."""
        names = list(self._numbers)
        cosine_P = vectors.of(names) @ vectors.query(query)
        scores = np.full(len(self._said), np.nan)
        because = [""] * len(self._said)
        for number, said in enumerate(self._said):
            if said:
                best = max(said, key=cosine_P.__getitem__)
                because[number] = names[best]
                scores[number] = cosine_P[best]
        return scores, because


def words(text: str) -> list[str]:
    """Lower-case words, numbers and identities.

    >>> words("Person #3 walks, slowly.")
    ['person', '#3', 'walks', 'slowly']
    """
    return re.findall(r"#?\w+", text.casefold())


def phrases(text: str) -> list[str]:
    """What a text says, phrase by phrase, without the numbers in which frames differ.

    So a long video has few distinct phrases, and each is embedded once.

    >>> phrases("A dog is in view; dog #4 moves left at 344 px/s (± 26 px/s). The camera pans.")
    ['A dog is in view', 'dog moves left', 'The camera pans']
    """
    bare = re.sub(r"\([^)]*\d[^)]*\)|\bat \d\S* \S+|#\d+|\b\d\S*(?: %)?", " ", text)
    parts = (" ".join(part.split()) for part in re.split(r"[.,;:!?]+(?:\s|$)", bare))
    return [part for part in parts if words(part)]
