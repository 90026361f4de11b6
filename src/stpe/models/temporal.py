"""A trained temporal module in place of pooling without parameters (`stpe train --weights`).

A transformer encoder (Vaswani et al. 2017) over frame embeddings with times in seconds.

Shape legend: B windows, K frames of one, N frames of a span, D embedding dimension, H width.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from stpe.errors import ModelError, UsageError
from stpe.models.small_torch import alone, import_torch

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

_WIDTH, _LAYERS, _HEADS = 128, 3, 4


@dataclass(frozen=True, slots=True)
class ModuleFile:
    """A module's weights on disk; what depends on them depends on `sha256` alone."""

    path: str
    sha256: str

    @classmethod
    def of(cls, path: Path | str) -> ModuleFile:
        """Raises ModelError where the file is not one, MissingExtraError without torch."""
        load(Path(path))
        return cls(str(path), hashlib.sha256(Path(path).read_bytes()).hexdigest())

    def read(self) -> TemporalPooling:
        """The module. Raises as `of`."""
        return load(Path(self.path))


class TemporalPooling:
    """A trained module as a pooling: the same call as `stpe.stages.attention.attention_pool`."""

    def __init__(self, network: Any) -> None:
        self._network = network

    def __call__(self, embeddings_ND: F32, times_N: F64) -> F32 | None:
        """Unit vector (float32, D) of unit rows in time order; None without rows.

        Raises UsageError for embeddings of another dimension than it was trained on.
        """
        if not len(embeddings_ND):
            return None
        trained = self._network.input.in_features
        if embeddings_ND.shape[1] != trained:
            raise UsageError(
                f"the pooling was trained on embeddings of {trained} numbers and these have "
                f"{embeddings_ND.shape[1]}: train it on data of the same image embedder"
            )
        torch = import_torch()
        with torch.inference_mode(), alone(0):
            x = torch.from_numpy(np.array(embeddings_ND, np.float32))[None]
            t = torch.from_numpy(times_N - times_N[0]).float()[None]
            pooled = self._network.pool(x, t)[0].numpy()
        return np.asarray(pooled, np.float32)


def load(path: Path) -> TemporalPooling:
    """A module kept by `stpe train --weights`. Raises ModelError where the file is not one."""
    import_torch()
    from safetensors.torch import load_file

    try:
        weights = load_file(str(path))
        network = build(int(weights["input.weight"].shape[1]))
        network.load_state_dict(weights)
    except (OSError, KeyError, RuntimeError, ValueError, SafetensorError) as error:
        what = str(error).splitlines()[0]
        raise ModelError(f"{path} is no temporal module of `stpe train` ({what})") from None
    return TemporalPooling(network.eval())


def build(dimension: int) -> Any:
    """An untrained module for embeddings of this dimension."""
    torch = import_torch()
    nn = torch.nn

    class Module(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.input = nn.Linear(dimension, _WIDTH)
            self.mask = nn.Parameter(torch.zeros(_WIDTH))
            layer = nn.TransformerEncoderLayer(
                _WIDTH, _HEADS, 2 * _WIDTH, dropout=0.1, activation="gelu", batch_first=True,
                norm_first=True,
            )  # fmt: skip
            self.layers = nn.TransformerEncoder(layer, _LAYERS, enable_nested_tensor=False)
            self.output = nn.Linear(_WIDTH, dimension)
            self.score = nn.Linear(_WIDTH, 1)
            # It begins as what needs no training: the frame itself, the mean, the last frame.
            for part in (self.output, self.score):
                nn.init.zeros_(part.weight)
                nn.init.zeros_(part.bias)

        def encode(self, x: Any, t: Any, masked: Any = None, causal: bool = False) -> Any:
            """BxKxH; `masked` BxK frames are hidden, `causal` looks back only."""
            inside = self.input(x)
            if masked is not None:
                inside = torch.where(masked[..., None], self.mask, inside)
            inside = inside + _clock(t)
            ahead = None
            if causal:
                ahead = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
            return self.layers(inside, mask=ahead, is_causal=causal)

        def guess(self, base: Any, hidden: Any) -> Any:
            """Unit embeddings: the base, corrected."""
            return nn.functional.normalize(base + self.output(hidden), dim=-1)

        def pool(self, x: Any, t: Any) -> Any:
            """BxD: frames weighed by what they look like among the others, then corrected."""
            hidden = self.encode(x, t)
            weight = self.score(hidden).softmax(1)
            return nn.functional.normalize((weight * (x + self.output(hidden))).sum(1), dim=-1)

    return Module()


def _clock(t: Any) -> Any:
    """Sines and cosines of seconds, periods from 0.25 s to a minute and more."""
    torch = import_torch()
    rates = 2 * math.pi * 4.0 * torch.exp(-torch.linspace(0, 6, _WIDTH // 2))
    angle = t[..., None] * rates
    return torch.cat([angle.sin(), angle.cos()], -1)
