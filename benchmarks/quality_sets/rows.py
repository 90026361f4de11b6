"""Rows of the report of `benchmarks/quality.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def means_row(
    name: str,
    metric: str,
    ours: Sequence[float],
    baseline: tuple[str, Sequence[float]],
    note: str = "",
) -> dict[str, Any]:
    """Means of two lists of values on the same things: ours, and those of a named baseline."""
    title, theirs = baseline
    return {
        "set": name,
        "metric": metric,
        "ours": float(np.mean(ours)),
        "baseline": title,
        "baseline_value": float(np.mean(theirs)),
        "n": len(ours),
        "note": note,
    }
