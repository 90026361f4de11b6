"""MCAP logs with JSON messages, as Open World Agents' desktop recorder writes them.

Its `screen` topic has a message a video frame with the frame's pts; a row is made of each, holding
what keyboard, mouse and window said by then, and the input events since the row before. A file
without such a topic gives a row a message, on the recorder's Unix clock.
"""

from __future__ import annotations

import io
import json
from typing import Any

from stpe.errors import MissingExtraError, SourceError
from stpe.state.log import Row, StateLog, assemble

_EVENTS = ("keyboard", "mouse")
_SCREEN = "screen"


def read_mcap(data: bytes, name: str, sha256: str) -> StateLog:
    """An MCAP file.

    Raises:
        MissingExtraError: the `mcap` package is not installed.
        SourceError: it is damaged or holds no JSON message.
    """
    messages, skipped = _messages(data, name)
    repairs = [f"{n} messages of {t} are not JSON and were left out" for t, n in skipped.items()]
    if any(topic == _SCREEN and _pts(value) is not None for topic, _, value in messages):
        rows = _by_screen(messages)
        return assemble(rows, "mcap", sha256, name, clock="video", repairs=repairs)
    rows = [Row(ns / 1e9, None, {topic: value}) for topic, ns, value in messages]
    return assemble(rows, "mcap", sha256, name, clock="unix", repairs=repairs)


def _messages(
    data: bytes, name: str
) -> tuple[list[tuple[str, int, dict[str, Any]]], dict[str, int]]:
    try:
        from mcap.exceptions import McapError
        from mcap.reader import make_reader
    except ModuleNotFoundError:
        raise MissingExtraError("reading MCAP needs: pip install 'stpe[logs]'") from None
    found: list[tuple[str, int, dict[str, Any]]] = []
    skipped: dict[str, int] = {}
    try:
        for _, channel, message in make_reader(io.BytesIO(data)).iter_messages():
            value = None
            if channel.message_encoding == "json":
                value = json.loads(message.data)
            if isinstance(value, dict):
                found.append((channel.topic, message.log_time, value))
            else:
                skipped[channel.topic] = skipped.get(channel.topic, 0) + 1
    except (McapError, ValueError, OSError, EOFError, RuntimeError) as error:
        why = str(error) or type(error).__name__
        raise SourceError(f"{name} is a damaged MCAP file ({why}); copy it again") from None
    if not found:
        raise SourceError(f"{name} holds no JSON message; give a log with JSON topics")
    return found, skipped


def _by_screen(messages: list[tuple[str, int, dict[str, Any]]]) -> list[Row]:
    rows: list[Row] = []
    latest: dict[str, Any] = {}
    events: dict[str, list[Any]] = {name: [] for name in _EVENTS}
    held: set[int] = set()
    for topic, ns, value in messages:
        if topic in events:
            events[topic].append({**value, "utc_ns": ns})
            if topic == "keyboard" and isinstance(value.get("vk"), int):
                (held.discard if value.get("event_type") == "release" else held.add)(value["vk"])
            if topic == "mouse" and "x" in value:
                state = latest.get("mouse/state", {})
                latest["mouse/state"] = {**state, "x": value["x"], "y": value.get("y")}
        elif topic == _SCREEN:
            pts = _pts(value)
            if pts is None:
                continue
            state = {**latest, "keys_held": sorted(held), "screen": value}
            state |= {f"{name}_events": list(found) for name, found in events.items() if found}
            rows.append(Row(pts / 1e9, None, state))
            for found in events.values():
                found.clear()
        else:
            latest[topic] = value
            if topic == "keyboard/state" and isinstance(value.get("buttons"), list):
                held = {b for b in value["buttons"] if isinstance(b, int)}
    return rows


def _pts(value: dict[str, Any]) -> int | None:
    """Nanoseconds in the video, by the recorder's old and new layout."""
    reference = value.get("media_ref")
    pts = reference.get("pts_ns") if isinstance(reference, dict) else value.get("pts")
    return pts if isinstance(pts, int) and not isinstance(pts, bool) else None
