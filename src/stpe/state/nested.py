"""Rows of a table as nested states, and nested states as flat numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted names as nested dicts; a name that is both a value and a group keeps its dots.

    >>> nest({"camera.yaw": 3, "camera.pitch": 1, "hp": 9})
    {'camera': {'yaw': 3, 'pitch': 1}, 'hp': 9}
    """
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *groups, last = name.split(".")
        at = nested
        for group in groups:
            below = at.setdefault(group, {})
            if not isinstance(below, dict):
                break
            at = below
        else:
            if last not in at:
                at[last] = value
                continue
        nested[name] = value
    return nested


def leaves(state: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name and value of everything in a nested state that is not a dict."""
    for name, value in state.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from leaves(value, f"{path}.")
        else:
            yield path, value
