"""MCAP logs with JSON messages, as Open World Agents' desktop recorder writes them.

Its `screen` topic has a message a video frame with the frame's pts; a row is made of each, holding
what keyboard, mouse and window said by then, and the input events since the row before. A file
without such a topic gives a row a message, on the recorder's Unix clock.
"""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np

from stpe.errors import MissingExtraError, SourceError
from stpe.state.keys import key_name
from stpe.state.log import Record, Row, StateLog, assemble

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
        return assemble(
            rows, "mcap", sha256, name, clock="video", repairs=repairs, records=_records(messages)
        )
    rows = [Row(ns / 1e9, None, {topic: value}) for topic, ns, value in messages]
    records = [Record(ns / 1e9, str(ns), "nanoseconds", {t: v}) for t, ns, v in messages]
    return assemble(rows, "mcap", sha256, name, clock="unix", repairs=repairs, records=records)


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


def _records(messages: list[tuple[str, int, dict[str, Any]]]) -> list[Record]:
    """Every message with its time in the video: by the wall clock between the times at which two
    frames were taken, and as far from the first or last frame as the wall clock says."""
    taken: list[tuple[int, float]] = []
    for topic, ns, value in messages:
        pts = _pts(value) if topic == _SCREEN else None
        if pts is not None:
            said = value.get("utc_ns")
            at = said if isinstance(said, int) and not isinstance(said, bool) else ns
            if not taken or (at > taken[-1][0] and pts / 1e9 > taken[-1][1]):
                taken.append((at, pts / 1e9))
    first, last = taken[0], taken[-1]
    origin = first[0]
    wall = np.array([(at - origin) / 1e9 for at, _ in taken])
    shown = np.array([pts for _, pts in taken])
    found = []
    for topic, ns, value in messages:
        if ns <= first[0]:
            time = first[1] - (first[0] - ns) / 1e9
        elif ns >= last[0]:
            time = last[1] + (ns - last[0]) / 1e9
        else:
            time = float(np.interp((ns - origin) / 1e9, wall, shown))
        pts = _pts(value) if topic == _SCREEN else None
        time = time if pts is None else pts / 1e9
        found.append(Record(time, str(ns), "nanoseconds", {topic: value}))
    return found


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
            names = sorted(key_name(vk, "windows") for vk in held)
            state = {**latest, "keys_held": names, "screen": value}
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
