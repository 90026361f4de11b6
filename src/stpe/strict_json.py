"""JSON that every parser reads: numbers that JSON has no word for become null."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any


def dumps(value: Any, **options: Any) -> str:
    """As `json.dumps`, with null for NaN and the infinities.

    >>> dumps({"health": float("nan"), "at": [1.0, float("inf")]})
    '{"health": null, "at": [1.0, null]}'
    """
    try:
        return json.dumps(value, allow_nan=False, **options)
    except ValueError:
        default: Callable[[Any], Any] | None = options.pop("default", None)
        return json.dumps(finite(value, default), allow_nan=False, **options)


def finite(value: Any, default: Callable[[Any], Any] | None = None) -> Any:
    """The value with None for every NaN and infinity in it; `default` as in `json.dumps`."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {_name(key): finite(item, default) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item, default) for item in value]
    if default is None or value is None or isinstance(value, (str, int)):
        return value
    return finite(default(value), default)


def holds_no_number(value: Any) -> bool:
    """Whether a NaN or an infinity is in it."""
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        return any(map(holds_no_number, value.values()))
    return isinstance(value, (list, tuple)) and any(map(holds_no_number, value))


def _name(key: Any) -> Any:
    return str(key) if isinstance(key, float) and not math.isfinite(key) else key
