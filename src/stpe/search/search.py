"""Finding moments by text or by picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from stpe.dataset.columns import dense
from stpe.dataset.reader import Dataset
from stpe.errors import DatasetError, UsageError
from stpe.models.catalog import Model
from stpe.models.roles import ImageEmbedder
from stpe.search.moments import Hit, Scores, fuse, moments, spread
from stpe.search.texts import Texts
from stpe.search.vectors import PhraseVectors
from stpe.video.frame import ImageHW3


class Search:
    """Searches one dataset; keeps what it read and embedded, so that the next query is quick.

    Args:
        dataset: from `open_dataset`.
        roles: loaded models by role. `text_embedder` lets text find what it means, not only what
            it says; `image_embedder`, the model that made `frames.embedding`, is what a picture
            needs. Without any, text is matched word by word.
        kept: file that keeps the vectors of phrases for the next search, one a text embedder
            (`phrase_file`); None keeps none.
    """

    def __init__(
        self,
        dataset: Dataset,
        roles: Mapping[str, Any] | None = None,
        kept: Path | None = None,
    ) -> None:
        self._dataset = dataset
        self._roles = dict(roles or {})
        self._found = moments(dataset)
        self._texts: Texts | None = None
        embedder = self._roles.get("text_embedder")
        self._vectors = None if embedder is None else PhraseVectors(embedder, kept)

    def text(self, query: str, limit: int = 10) -> list[Hit]:
        """The moments that a text describes best, over captions, events and labels.

        Raises UsageError for a query without a word.
        """
        if not query.strip():
            raise UsageError("the query is empty: say what to look for")
        if not len(self._found):
            return []
        if self._texts is None:
            self._texts = Texts(self._dataset, self._found)
        exact, labels = self._texts.exact(query)
        rankings, because = [exact], labels
        if self._vectors is not None:
            meaning, phrases = self._texts.meaning(query, self._vectors)
            rankings.append(meaning)
            because = [p or w for p, w in zip(phrases, labels, strict=True)]
        return self._hits(fuse(rankings), because, limit)

    def image(self, image_HW3: ImageHW3, limit: int = 10) -> list[Hit]:
        """The moments that look most like a picture, by cosine of embeddings.

        Raises:
            UsageError: no `image_embedder`, or not the one that the dataset was made with.
            DatasetError: the dataset has no frame embeddings.
        """
        embedder: ImageEmbedder | None = self._roles.get("image_embedder")
        if embedder is None:
            raise UsageError("a search by image needs a model for the role image_embedder")
        rows = self._dataset.arrow("frames", columns=["embedding"])
        stored = dense("frames", "embedding", rows)
        if stored is None or not len(stored):
            raise DatasetError(
                "the dataset has no frames.embedding: process it with that signal to search it"
            )
        target = embedder.embed([image_HW3])[0].global_D
        if not isinstance(stored, np.ndarray) or stored.shape[1:] != target.shape:
            raise UsageError(
                "frames.embedding is of another model than the one given: name the model that "
                "`stpe inspect` lists for image_embedder"
            )
        cosine = np.nan_to_num(stored.astype(np.float64) @ target, nan=-1.0)
        # Hits have a score above 0; a cosine may be anything from -1 to 1.
        hits = self._hits((1 + cosine) / 2, ["image"] * len(cosine), limit)
        return [Hit(**{**vars(hit), "score": 2 * hit.score - 1}) for hit in hits]

    def _hits(self, scores: Scores, because: Sequence[str], limit: int) -> list[Hit]:
        found = self._found
        return [
            Hit(
                video_id=found.video_ids[n],
                frame_index=found.frame_indices[n],
                pts=found.pts[n],
                score=float(scores[n]),
                caption=found.captions[n],
                because=because[n],
            )
            for n in spread(found, scores, limit)
        ]


def search(
    dataset: Dataset,
    query: str | None = None,
    *,
    image: ImageHW3 | str | Path | None = None,
    roles: Mapping[str, Any] | None = None,
    kept: Path | None = None,
    limit: int = 10,
) -> list[Hit]:
    """One search by text or by image (RGB pixels, or a file); see `Search`.

    >>> search(ds, "a person walks left")[0].pts          # doctest: +SKIP
    """
    if (query is None) == (image is None):
        raise UsageError("search for a text or for an image: give one of them")
    if limit < 1:
        raise UsageError("the limit is a number of hits from 1 up")
    finder = Search(dataset, roles, kept)
    if query is not None:
        return finder.text(query, limit)
    pixels = image if isinstance(image, np.ndarray) else read_image(Path(str(image)))
    return finder.image(pixels, limit)


def phrase_file(dataset: Dataset, model: Model) -> Path:
    """Where the vectors that a text embedder makes for a dataset are kept."""
    return dataset.path / "search" / f"{model.fingerprint[:16]}.arrow"


def read_image(path: Path) -> ImageHW3:
    """RGB pixels of an image file. Raises UsageError if it is none."""
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if image is None:
        raise UsageError(f"{path} is not an image that can be read: give a PNG or JPEG file")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
