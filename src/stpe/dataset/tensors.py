"""Arrays as torch tensors, where torch is installed."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np


def tensor(value: Any) -> Any:
    """A writable tensor (or array, without torch) of an array; anything else as it is."""
    if not isinstance(value, np.ndarray):
        if isinstance(value, list) and any(isinstance(v, np.ndarray) for v in value):
            return [tensor(v) for v in value]
        return value
    if not value.flags.writeable:
        value = value.copy()
    torch = _torch()
    return value if torch is None else torch.from_numpy(value)


@cache
def _torch() -> Any:
    """The module, loaded with the first batch; None where it is not installed."""
    if find_spec("torch") is None:
        return None
    import torch

    return torch
