"""Importing torch, whatever thread asks first."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

from stpe.errors import MissingExtraError

#: Held while torch or transformers is imported: one thread at a time.
importing = threading.RLock()
_ready: list[Any] = []


def import_torch() -> Any:
    """The torch module. Raises MissingExtraError where the extra is not installed."""
    if not _ready:
        with importing:
            if not _ready:
                _ready.append(_imported())
    return _ready[0]


def _imported() -> Any:
    # Read when torch is first imported: its profiler, which measures memory, logs otherwise.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    fresh = "torch" not in sys.modules
    try:
        import torch

        if fresh and not torch.cuda.is_available():
            # The profiler wants its first use in the thread that imported torch.
            with torch.autograd.profiler.profile(profile_memory=True):
                pass
    except ImportError as error:
        raise MissingExtraError(
            "this model runs in torch, which is not installed: pip install 'stpe[flagship]'"
        ) from error
    return torch
