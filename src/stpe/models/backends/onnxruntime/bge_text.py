"""bge-small-en-v1.5 (Xiao et al. 2023, arXiv:2309.07597), 8-bit: embeds English sentences.

The network is quantised dynamically, and its input has any length. ONNX Runtime runs such a graph
as it is: it loads in half a second and takes 60 MB, where OpenVINO compiles it for each length
(5 s and 450 MB a length).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from stpe.errors import ModelError
from stpe.models.roles import F32

MAX_TOKENS = 512


def load(files: Mapping[str, Path], options: Mapping[str, Any]) -> BgeText:
    """`files` holds `bge_small.onnx` and `tokenizer.json`."""
    try:
        tokenizer = Tokenizer.from_file(str(files["tokenizer.json"]))
    except Exception as error:  # tokenizers raises bare Exception
        raise ModelError(f"tokenizer.json cannot be read: {error}") from error
    chosen = onnxruntime.SessionOptions()
    # Sentences are short: a second thread waits more than it works.
    chosen.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            str(files["bge_small.onnx"]), chosen, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # each fault has a class of its own, below Exception
        raise ModelError(f"bge-small: the graph cannot be read: {error}") from error
    return BgeText(session, tokenizer)


class BgeText:
    """The `text_embedder` role: the CLS token's last state, normalised. Safe in threads."""

    dimension = 384

    def __init__(self, session: onnxruntime.InferenceSession, tokenizer: Tokenizer) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.no_padding()

    def embed_text(self, texts: Sequence[str]) -> F32:
        """len(texts) x 384 float32, rows unit L2.

        One sentence at a time, at its own length: the scales of 8-bit numbers are taken from all
        that is in a call, so a sentence's vector would depend on its neighbours and on padding.
        """
        out = np.empty((len(texts), self.dimension), np.float32)
        for row, text in enumerate(texts):
            out[row] = self._embed(text)
        return out

    def _embed(self, text: str) -> F32:
        tokens = np.asarray([self._tokenizer.encode(text).ids], np.int64)
        inputs = {
            "input_ids": tokens,
            "attention_mask": np.ones_like(tokens),
            "token_type_ids": np.zeros_like(tokens),
        }
        state = self._session.run(None, inputs)[0][0, 0]
        return np.asarray(state / max(float(np.linalg.norm(state)), 1e-12), np.float32)

    def close(self) -> None:
        """Free the graph."""
        del self._session
