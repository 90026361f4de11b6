"""bge-small-en-v1.5 (Xiao et al. 2023, arXiv:2309.07597), 8-bit: embeds English sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from stpe.errors import ModelError
from stpe.models.backends.openvino.session import Session
from stpe.models.roles import F32

MAX_TOKENS = 512
#: Lengths are rounded up to a multiple of this, so that few shapes are compiled.
_STEP = 16


def load(files: Mapping[str, Path], options: Mapping[str, Any]) -> BgeText:
    """`files` holds `bge_small.onnx` and `tokenizer.json`."""
    try:
        tokenizer = Tokenizer.from_file(str(files["tokenizer.json"]))
    except Exception as error:  # tokenizers raises bare Exception
        raise ModelError(f"tokenizer.json cannot be read: {error}") from error
    # Its weights are 8-bit already: bfloat16 would round the rest for no speed.
    session = Session(files["bge_small.onnx"], name="bge-small", precision="f32")
    return BgeText(session, tokenizer)


class BgeText:
    """The `text_embedder` role: the CLS token's last state, normalised."""

    dimension = 384

    def __init__(self, session: Session, tokenizer: Tokenizer) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.no_padding()

    def embed_text(self, texts: Sequence[str]) -> F32:
        """len(texts) x 384 float32, rows unit L2.

        One sentence at a time: a sentence's numbers then do not depend on its neighbours.
        """
        out = np.empty((len(texts), self.dimension), np.float32)
        for row, text in enumerate(texts):
            out[row] = self._embed(text)
        return out

    def _embed(self, text: str) -> F32:
        ids = self._tokenizer.encode(text).ids
        length = -(-len(ids) // _STEP) * _STEP
        tokens = np.zeros((1, length), np.int64)
        tokens[0, : len(ids)] = ids
        inputs = {
            "input_ids": tokens,
            "attention_mask": (np.arange(length) < len(ids)).astype(np.int64)[None],
            "token_type_ids": np.zeros_like(tokens),
        }
        state = self._session.run(inputs)[0][0, 0]
        return np.asarray(state / max(float(np.linalg.norm(state)), 1e-12), np.float32)

    def close(self) -> None:
        """Free the compiled graph."""
        self._session.close()
