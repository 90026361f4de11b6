"""Arrays as torch tensors, where torch is installed."""

from __future__ import annotations

from typing import Any

import numpy as np

try:
    import torch
except ImportError:
    torch = None


def tensor(value: Any) -> Any:
    """A writable tensor (or array, without torch) of an array; anything else as it is."""
    if not isinstance(value, np.ndarray):
        if isinstance(value, list) and any(isinstance(v, np.ndarray) for v in value):
            return [tensor(v) for v in value]
        return value
    if not value.flags.writeable:
        value = value.copy()
    return value if torch is None else torch.from_numpy(value)
