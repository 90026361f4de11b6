"""Vectors of phrases, made once for a dataset and kept beside it."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stpe.dataset.layout import write_atomically
from stpe.models.roles import TextEmbedder

log = logging.getLogger(__name__)


class PhraseVectors:
    """The vector of any phrase; those of earlier calls are read from a file.

    Args:
        embedder: the model.
        path: the Arrow file that keeps what this model made, its folder made where it is not
            there; None keeps vectors in memory alone.
    """

    def __init__(self, embedder: TextEmbedder, path: Path | None = None) -> None:
        self._embedder = embedder
        self._path = path
        self._phrases: dict[str, int] = {}
        self._vectors_ND: NDArray[np.float32] = np.zeros((0, embedder.dimension), np.float32)
        if path is not None:
            self._read(path)

    def of(self, phrases: Collection[str]) -> NDArray[np.float32]:
        """len(phrases) x dimension float32, rows unit L2 to float16's precision.

        New phrases are embedded and, with a path, kept.
        """
        new = sorted(set(phrases) - self._phrases.keys())
        if new:
            made = self._embedder.embed_text(new).astype(np.float16).astype(np.float32)
            self._vectors_ND = np.concatenate([self._vectors_ND, made])
            for phrase in new:
                self._phrases[phrase] = len(self._phrases)
            if self._path is not None:
                self._write(self._path)
        return self._vectors_ND[[self._phrases[phrase] for phrase in phrases]]

    def query(self, text: str) -> NDArray[np.float32]:
        """The vector of a query, which is not kept."""
        return np.asarray(self._embedder.embed_text([text])[0], np.float32)

    def _read(self, path: Path) -> None:
        try:
            with pa.memory_map(str(path)) as file:
                rows = pa.ipc.open_file(file).read_all()
        except FileNotFoundError:
            return
        except (OSError, pa.ArrowInvalid) as error:
            log.warning("%s cannot be read (%s): its vectors are made again", path, error)
            return
        vectors = rows["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        self._vectors_ND = vectors.reshape(-1, self._embedder.dimension).astype(np.float32)
        self._phrases = {phrase: n for n, phrase in enumerate(rows["phrase"].to_pylist())}

    def _write(self, path: Path) -> None:
        vectors = pa.FixedSizeListArray.from_arrays(
            pa.array(self._vectors_ND.astype(np.float16).reshape(-1)), self._vectors_ND.shape[1]
        )
        rows = pa.table({"phrase": list(self._phrases), "vector": vectors})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, rows.schema) as writer:
            writer.write_table(rows)
        try:
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, sink.getvalue().to_pybytes())
        except OSError as error:
            log.warning("the vectors of this search are not kept: %s", error)
