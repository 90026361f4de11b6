"""A matched log as the rows of the table `states`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stpe.signals import schema
from stpe.state.inputs import inputs_of
from stpe.state.log import Record, Row, StateLog
from stpe.state.motion import Curve, curves
from stpe.state.nested import leaves

F64 = NDArray[np.float64]

#: Rows so long before the first frame or after the last still belong to it: a recorder of input
#: and one of the screen do not begin and end at one moment.
EDGE_S = 1.0
#: Times nearer to a frame than this are its own: Matroska rounds its clock to a millisecond.
_CLOCK_S = 1e-3


def state_rows(log: StateLog, pts_N: F64, frame_times: F64, how: str) -> pa.Table:
    """Every row of a log.

    Args:
        pts_N: seconds of each on the video's clock (`stpe.state.placing`), NaN for none.
        frame_times: of every decoded frame. how: the column `alignment` of rows that have a time.
    """
    parts: Sequence[Row | Record] = log.records or log.rows
    states = [part.state for part in parts]
    inputs = inputs_of(states)
    frames = frame_of_times(pts_N, frame_times)
    known = np.isfinite(pts_N)
    columns: dict[str, Any] = {
        "row_index": np.arange(len(parts)),
        "log_time": [part.written or None for part in parts],
        "log_unit": [_unit(part) for part in parts],
        "pts": [float(t) if k else None for t, k in zip(pts_N, known, strict=True)],
        "frame_index": [int(f) if f >= 0 else None for f in frames],
        "alignment": [how if k else "unaligned" for k in known],
        "state": [json.dumps(state, sort_keys=True, allow_nan=False) for state in states],
        "keys_held": [row.held for row in inputs],
        "keys_pressed": [row.pressed for row in inputs],
        "keys_released": [row.released for row in inputs],
        "pointer": [row.pointer for row in inputs],
        "pointer_move": [row.move for row in inputs],
        "wheel": [row.wheel for row in inputs],
        "axes": [[{"name": n, "value": v} for n, v in row.axes.items()] or None for row in inputs],
        "camera_turn_deg": _turns(log, len(parts)),
    }
    target = schema("states")
    return pa.table([pa.array(columns[f.name], f.type) for f in target], schema=target)


def vocabulary(rows: pa.Table) -> tuple[list[str], list[str]]:
    """Names of the keys and of the axes that `states` rows hold, sorted."""
    keys: set[str] = set()
    for column in ("keys_held", "keys_pressed", "keys_released"):
        keys.update(rows[column].combine_chunks().flatten().unique().to_pylist())
    axes = rows["axes"].combine_chunks().flatten()
    return sorted(keys), sorted(set(axes.field("name").to_pylist()))


def frame_of_times(pts_N: F64, frame_times: F64) -> NDArray[np.int64]:
    """Number of the frame that is shown at each time; -1 outside the video, and for NaN."""
    steps = np.diff(frame_times)
    last = float(np.median(steps)) if len(steps) else 0.0
    found = np.searchsorted(frame_times, pts_N + _CLOCK_S, side="right") - 1
    found = np.maximum(found, 0)
    inside = pts_N >= frame_times[0] - EDGE_S
    inside &= pts_N <= frame_times[-1] + last + EDGE_S
    return np.where(inside & np.isfinite(pts_N), found, -1)


def outside(rows: pa.Table) -> str | None:
    """A sentence on presses that no frame of the video shows; None where there are none."""
    placed = rows["frame_index"].is_valid().to_pylist()
    lost = sum(
        len(pressed or ())
        for pressed, there in zip(rows["keys_pressed"].to_pylist(), placed, strict=True)
        if not there
    )
    if not lost:
        return None
    return f"{lost} key presses of the state log lie outside the video; only `states` has them"


def _unit(part: Row | Record) -> str | None:
    if isinstance(part, Record):
        return part.unit
    return part.unit.word if part.unit is not None and part.written else None


def _turns(log: StateLog, count: int) -> list[tuple[float, float] | None]:
    """Change of the log's camera angles since the row before, [yaw, pitch] in degrees."""
    turns: list[tuple[float, float] | None] = [None] * count
    if log.records:
        return turns
    clock = [float(n) for n in range(count)]
    told: dict[str, Curve] = {}
    for curve in curves(log.rows, clock):
        if curve.view and curve.axis in ("yaw", "pitch"):
            told.setdefault(curve.axis, curve)
    if not told:
        return turns
    yaw, pitch = (_degrees(log, told.get(axis), count) for axis in ("yaw", "pitch"))
    for at in range(1, count):
        if np.isfinite(yaw[at]) or np.isfinite(pitch[at]):
            turns[at] = (float(np.nan_to_num(yaw[at])), float(np.nan_to_num(pitch[at])))
    return turns


def _degrees(log: StateLog, curve: Curve | None, count: int) -> F64:
    """Difference to the row before, NaN where either is unknown."""
    found = np.full(count, np.nan)
    if curve is not None:
        values = curve.values_N if _in_degrees(log, curve.name) else np.degrees(curve.values_N)
        at = curve.times_N.astype(np.int64)
        for (a, x), (b, y) in pairwise(zip(at.tolist(), values.tolist(), strict=True)):
            if b == a + 1:
                found[b] = y - x
    return found


def _in_degrees(log: StateLog, name: str) -> bool:
    """Whether a field's angles are degrees, by its name or else by their size; what is derived
    from poses and view directions is in radians."""
    if name.endswith(("_deg", "_rad")):
        return name.endswith("_deg")
    told = [dict(leaves(row.state)).get(name) for row in log.rows]
    numbers = [abs(v) for v in told if isinstance(v, int | float)]
    return bool(numbers) and max(numbers) > 2 * np.pi + 0.01
