"""A log as one value: rows in time order, what kind of clock they have, and what was repaired."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import median
from typing import Any, Literal

from stpe.clocks.reading import in_seconds
from stpe.clocks.stamps import Stamp, stamp_in
from stpe.clocks.units import Unit
from stpe.errors import SourceError
from stpe.state.plain import plain_states

State = dict[str, Any]
#: `video`: the format itself says that times are the video's. `relative`: seconds from some
#: moment. `unix`: seconds since 1970.
Clock = Literal["video", "unix", "relative", "none"]

#: Names of a row's frame number, best first, where the format does not say.
FRAMES = ("frame_index", "frame_idx", "frame", "frame_number")

_NAMED = 20


@dataclass(frozen=True, slots=True)
class Row:
    """One row: time on the log's clock, frame number as the log counts, and the state.

    `time` is in seconds once a log is assembled; before, in `unit`, or in one to be told. `written`
    is the time as it was before that; empty where the row has none.
    """

    time: float | None
    frame: int | None
    state: State
    unit: Unit | None = None
    written: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One message of a log whose rows were made of several.

    Attributes:
        time: seconds on the clock of the rows. written, unit: the time as the log has it.
    """

    time: float
    written: str
    unit: str
    state: State


@dataclass(frozen=True)
class StateLog:
    """A log that was read.

    Attributes:
        rows: in time order (in frame order without times; as they came without either).
        clock: what the rows' times mean.
        kind: the format.
        sha256: of the file, or of the files of a folder.
        units: unit by field name, where the log says them.
        repairs: what was wrong and how it was mended, a sentence each.
        reordered: positions in the file of rows that were out of order, the first few.
        reordered_count: how many there were.
        records: every message, where a row is made of several; else empty.
        name: of the file.
        head: what the file says beside its rows.
    """

    rows: tuple[Row, ...]
    clock: Clock
    kind: str
    sha256: str
    units: dict[str, str] = field(default_factory=dict)
    repairs: tuple[str, ...] = ()
    reordered: tuple[int, ...] = ()
    reordered_count: int = 0
    records: tuple[Record, ...] = ()
    name: str = ""
    head: State = field(default_factory=dict)


def assemble(
    rows: Sequence[Row],
    kind: str,
    sha256: str,
    name: str,
    clock: Clock | None = None,
    units: dict[str, str] | None = None,
    repairs: Iterable[str] = (),
    records: Iterable[Record] = (),
    head: State | None = None,
) -> StateLog:
    """Check and sort rows, put times into seconds, and say what was done.

    Args:
        rows: as they came. Times may be NaN, in any unit, or out of order.
        kind, sha256, units, head: see `StateLog`.
        name: of the file, for messages.
        clock: where the format says it; None to judge it from the times.
        repairs: what the reader mended itself.
        records: see `StateLog`.

    Raises:
        SourceError: no row, no usable time or frame number, a unit that cannot be told, or a
            clock that starts again.
    """
    if not rows:
        raise SourceError(f"{name} holds no row; give the log that was written beside the video")
    said = list(repairs)
    rows = [replace(r, written="" if r.time is None else repr(r.time)) for r in rows]
    states, left_out = plain_states([r.state for r in rows])
    rows = [replace(r, state=state) for r, state in zip(rows, states, strict=True)]
    messages = list(records)
    told, of_messages = plain_states([m.state for m in messages])
    messages = [replace(m, state=state) for m, state in zip(messages, told, strict=True)]
    rows = _timed(rows, name, said)
    if rows[0].time is None:
        clock = "none"
    elif clock is None:
        rows, clock = _in_seconds(rows, name, said)
    rows, late = _sorted(rows, name, said)
    said += dict.fromkeys([*left_out, *of_messages])
    return StateLog(
        tuple(rows), clock, kind, sha256, units or {}, tuple(said), tuple(late[:_NAMED]), len(late),
        tuple(messages), name, head or {},
    )  # fmt: skip


def row_of(
    record: State, state: State, frame: int | None, units: dict[str, str] | None = None
) -> Row:
    """A row whose time is found in `record` by its usual names; NaN where it is no time.

    Args:
        units: what the file says of its fields' units, by name.
    """
    stamp = stamp_in(record, units)
    return Row(None, frame, state) if stamp is None else Row(stamp.value, frame, state, stamp.unit)


def frame_of(record: State) -> int | None:
    """The record's frame number by its usual names."""
    for name in FRAMES:
        value = record.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if math.isfinite(value) and value == int(value):
            return int(value)
    return None


def _timed(rows: Sequence[Row], name: str, said: list[str]) -> list[Row]:
    """Rows that all have a finite time, or none of which has a time."""
    good = [r for r in rows if r.time is not None and math.isfinite(r.time)]
    framed = all(r.frame is not None for r in rows)
    if len(good) == len(rows):
        return list(rows)
    wrong = sum(r.time is not None and not math.isfinite(r.time) for r in rows)
    if framed and len(good) < len(rows):
        if wrong:
            said.append(f"{wrong} of {len(rows)} times are not numbers; frame numbers are used")
        return [replace(r, time=None) for r in rows]
    if not good and not wrong:
        raise SourceError(
            f"{name} has neither times nor frame numbers; name them `time` or `frame` in each row"
        )
    if len(good) < 0.9 * len(rows):
        raise SourceError(
            f"{name}: {len(rows) - len(good)} of {len(rows)} rows have no time that is a number; "
            "write seconds as `time` in each row"
        )
    said.append(f"{len(rows) - len(good)} rows without a time that is a number were left out")
    return good


def _in_seconds(rows: list[Row], name: str, said: list[str]) -> tuple[list[Row], Clock]:
    stamps = [Stamp(math.nan if r.time is None else r.time, r.unit) for r in rows]
    read = in_seconds(stamps, name)
    said += read.said
    return [replace(r, time=t) for t, r in zip(read.times, rows, strict=True)], read.kind


def _sorted(rows: list[Row], name: str, said: list[str]) -> tuple[list[Row], list[int]]:
    keys: list[float] = []
    for row in rows:
        key = row.time if row.time is not None else row.frame
        assert key is not None
        keys.append(key)
    late, highest = [], -math.inf
    for at, key in enumerate(keys):
        if key < highest:
            late.append(at)
        highest = max(highest, key)
    if not late:
        return rows, late
    _refuse_restart(keys, name)
    _refuse_mixture(keys, len(late), name)
    said.append(f"{len(late)} of {len(rows)} rows were out of order and were sorted")
    order = sorted(range(len(rows)), key=keys.__getitem__)
    return [rows[at] for at in order], late


def _refuse_restart(keys: Sequence[float], name: str) -> None:
    """Sorting would mix two recordings whose clocks start again."""
    backward = [at for at in range(1, len(keys)) if keys[at] < keys[at - 1]]
    at = backward[0]
    before, after = keys[:at], keys[at:]
    if len(backward) > 1 or min(len(before), len(after)) < 10:
        return
    step = median(abs(b - a) for a, b in pairwise(keys))
    if keys[at - 1] - keys[at] > 10 * step and min(after) < before[len(before) // 2]:
        raise SourceError(
            f"{name}: the clock starts again at row {at + 1}, as in two recordings in one file; "
            "give each its own log"
        )


def _refuse_mixture(keys: Sequence[float], late: int, name: str) -> None:
    """Rows of two or three writers whose clocks differ, one after the other in turn.

    Each writer's rows are in order, which tells them from rows that were only shuffled.
    """
    if late < 0.2 * len(keys) or len(keys) < 20:
        return
    ends: list[list[float]] = []
    for key in keys:
        before = [chain for chain in ends if chain[-1] <= key]
        if before:
            max(before, key=lambda chain: chain[-1]).append(key)
        elif len(ends) == 3:
            return
        else:
            ends.append([key])
    whole = [chain for chain in ends if len(chain) >= 0.2 * len(keys)]
    step = median(b - a for chain in whole for a, b in pairwise(chain))
    back = median(a - b for a, b in pairwise(keys) if b < a)
    if len(whole) > 1 and back > 3 * step:
        raise SourceError(
            f"{name}: rows of {len(whole)} clocks, about {back:.3g} s apart, are mixed; give each "
            "its own log"
        )
