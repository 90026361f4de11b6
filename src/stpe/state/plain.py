"""States as JSON can hold them: what a binary format has beyond that is converted or left out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

_LEFT_OUT = object()
_MOST_NAMED = 5


def plain_states(states: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """States of text, finite numbers, booleans, null, lists and dicts; and what was changed.

    Bytes are left out. Numbers that are not finite become null. Dates and times become ISO 8601
    text, durations seconds, decimals numbers.

    >>> plain_states([{"hp": math.nan, "jpeg": b"..."}])[0]
    [{'hp': None}]
    """
    notes: dict[str, Counter[str]] = {}
    made = [_mapping(state, "", notes) for state in states]
    said = []
    for what, fields in notes.items():
        names = ", ".join(sorted(fields)[:_MOST_NAMED])
        more = f" and {len(fields) - _MOST_NAMED} more" if len(fields) > _MOST_NAMED else ""
        said.append(f"{names}{more}: {what} (in {max(fields.values())} rows)")
    return made, said


def _mapping(
    value: Mapping[Any, Any], prefix: str, notes: dict[str, Counter[str]]
) -> dict[str, Any]:
    made = {}
    for name, item in value.items():
        kept = _plain(item, f"{prefix}{name}", notes)
        if kept is not _LEFT_OUT:
            made[str(name)] = kept
    return made


def _plain(value: Any, name: str, notes: dict[str, Counter[str]]) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        _note(notes, "NaN or infinity became null", name)
        return None
    if isinstance(value, Mapping):
        return _mapping(value, f"{name}.", notes)
    if isinstance(value, bytes | bytearray | memoryview):
        _note(notes, "bytes were left out", name)
        return _LEFT_OUT
    if isinstance(value, datetime | date | time):
        _note(notes, "dates and times became ISO 8601 text", name)
        return value.isoformat()
    if isinstance(value, timedelta):
        _note(notes, "durations became seconds", name)
        return value.total_seconds()
    if isinstance(value, Decimal):
        number = float(value)
        return number if math.isfinite(number) else None
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Iterable):
        kept = [_plain(item, name, notes) for item in value]
        return [item for item in kept if item is not _LEFT_OUT]
    _note(notes, f"values of type {type(value).__name__} were left out", name)
    return _LEFT_OUT


def _note(notes: dict[str, Counter[str]], what: str, name: str) -> None:
    notes.setdefault(what, Counter())[name] += 1
