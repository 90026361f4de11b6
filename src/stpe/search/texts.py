"""Ranking moments by words: exact matches of labels and words, and meaning by embeddings."""

from __future__ import annotations

import math
import re
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from stpe.dataset.reader import Dataset
from stpe.models.roles import TextEmbedder
from stpe.search.moments import Moments, Scores


class Texts:
    """What is said about each moment of a dataset, and the embeddings of it made so far."""

    def __init__(self, dataset: Dataset, found: Moments) -> None:
        place = {
            key: n for n, key in enumerate(zip(found.video_ids, found.frame_indices, strict=True))
        }
        self._said: list[list[str]] = [[] for _ in range(len(found))]
        self._labels: list[dict[str, float]] = [{} for _ in range(len(found))]
        columns = ["caption_brief", "caption_normal", "caption_detailed"]
        for number, row in enumerate(dataset.arrow("frames", columns=columns).to_pylist()):
            self._said[number] += [text for text in row.values() if text]
        columns = ["video_id", "frame_index", "description"]
        for row in dataset.arrow("events", columns=columns).to_pylist():
            event = place.get((row["video_id"], row["frame_index"]))
            if event is not None and row["description"]:
                self._said[event].append(row["description"])
        columns = ["video_id", "frame_index", "label", "confidence"]
        for row in dataset.arrow("objects", columns=columns).to_pylist():
            frame = place.get((row["video_id"], row["frame_index"]))
            if frame is not None and row["label"]:
                held = self._labels[frame]
                label = row["label"].casefold()
                held[label] = max(held.get(label, 0.0), row["confidence"] or 0.0)
        self._vectors: dict[str, NDArray[np.float32]] = {}

    def exact(self, query: str) -> tuple[Scores, list[str]]:
        """How much of the query is said at each moment, and which words; NaN where nothing is.

        Words count by rarity, log(1 + moments / moments with the word). An object whose label is
        in the query adds up to half of that again, by its confidence.
        """
        wanted = set(words(query))
        matched: list[set[str]] = []
        trust: list[float] = []
        for said, labels in zip(self._said, self._labels, strict=True):
            seen = {label: c for label, c in labels.items() if set(words(label)) <= wanted}
            there = {word for label in seen for word in words(label)}
            matched.append(there | (wanted & {word for text in said for word in words(text)}))
            trust.append(max(seen.values(), default=0.0))
        common = Counter(word for there in matched for word in there)
        weight = {word: math.log1p(len(matched) / n) for word, n in common.items()}
        scores = np.full(len(matched), np.nan)
        for number, there in enumerate(matched):
            if there:
                scores[number] = sum(weight[word] for word in there) * (1 + trust[number] / 2)
        return scores, [", ".join(sorted(there)) for there in matched]

    def meaning(self, query: str, embedder: TextEmbedder) -> tuple[Scores, list[str]]:
        """Cosine of the query and the nearest sentence at each moment, and that sentence."""
        new = sorted({text for said in self._said for text in said} - self._vectors.keys())
        if new:
            self._vectors |= dict(zip(new, embedder.embed_text(new), strict=True))
        target = embedder.embed_text([query])[0]
        names = list(self._vectors)
        cosines = np.stack([self._vectors[n] for n in names]) @ target if names else []
        similarity = dict(zip(names, np.asarray(cosines, float).tolist(), strict=True))
        scores = np.full(len(self._said), np.nan)
        because = [""] * len(self._said)
        for number, said in enumerate(self._said):
            if said:
                because[number] = max(said, key=lambda text: similarity[text])
                scores[number] = similarity[because[number]]
        return scores, because


def words(text: str) -> list[str]:
    """Lower-case words, numbers and identities.

    >>> words("Person #3 walks, slowly.")
    ['person', '#3', 'walks', 'slowly']
    """
    return re.findall(r"#?\w+", text.casefold())
