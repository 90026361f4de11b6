"""Finding torch."""

from __future__ import annotations

import os
from typing import Any

from stpe.errors import MissingExtraError


def import_torch() -> Any:
    """The torch module. Raises MissingExtraError where the extra is not installed."""
    # Read when torch is first imported: its profiler, which measures memory, logs otherwise.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError(
            "this model runs in torch, which is not installed: pip install 'stpe[flagship]'"
        ) from error
    return torch
