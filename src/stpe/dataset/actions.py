"""What a player did while each frame was shown: keys, pointer, wheel, axes, camera, as arrays.

A frame's interval begins at its presentation time and ends at that of the next frame of the clip's
rate. Rows of `states` fall into the interval in which their own time lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

if TYPE_CHECKING:
    from stpe.dataset.reader import Dataset

F32 = NDArray[np.float32]
Int64s = NDArray[np.int64]

#: Times nearer than this are one: Matroska rounds its clock to a millisecond.
CLOCK_S = 1e-3
#: Columns of `states` that actions are made of.
_COLUMNS = ("frame_index", "pts", "keys_held", "keys_pressed", "keys_released", "pointer",
            "pointer_move", "wheel", "axes", "camera_turn_deg")  # fmt: skip


class Actions:
    """Actions of the frames of one video.

    Attributes:
        keys: names of the K keys and buttons. axes: names of the A analogue axes.
    """

    def __init__(
        self, dataset: Dataset, video_id: str, keys: Sequence[str], axes: Sequence[str],
        index: Int64s, pts: NDArray[np.float64],
    ) -> None:  # fmt: skip
        """`index` and `pts` are those of the video's F frames at the clip's rate."""
        rows = dataset.arrow("states", video_id, _COLUMNS)
        self.keys, self.axes = tuple(keys), tuple(axes)
        count = len(index)
        at = _interval(rows, index)
        self._known = _covered(rows, pts)
        key_of = {name: n for n, name in enumerate(keys)}
        pressed, released = (
            _counted(rows[name], at, key_of, count) for name in ("keys_pressed", "keys_released")
        )
        self._arrays: dict[str, Any] = {
            "keys_held": _held(rows, at, key_of, pts) | (pressed > 0),
            "keys_pressed": pressed,
            "keys_released": released,
            "pointer": _last(rows["pointer"], at, count),
            "pointer_move": _summed(rows["pointer_move"], at, count, self._known),
            "wheel": _summed(rows["wheel"], at, count, self._known),
            "camera_turn_deg": _summed(rows["camera_turn_deg"], at, count, self._known),
            "axes": _axes(rows["axes"], at, {n: i for i, n in enumerate(axes)}, count),
            "known": self._known,
        }

    def window(self, first: int, length: int) -> dict[str, NDArray[Any]]:
        """Of `length` frames from the frame at that position of the video; see `ClipDataset`."""
        return {
            f"actions.{name}": array[first : first + length].copy()
            for name, array in self._arrays.items()
        }


def names(dataset: Dataset, column: str) -> tuple[str, ...]:
    """The dataset's vocabulary: all names in `videos.keys` or `videos.axes`, sorted."""
    found = dataset.arrow("videos", columns=[column])[column].combine_chunks().flatten()
    return tuple(sorted(found.unique().to_pylist()))


def _interval(rows: pa.Table, index: Int64s) -> Int64s:
    """Position among `index` of the frame in whose interval each row lies; -1 for none."""
    frames = rows["frame_index"].fill_null(-1).to_numpy()
    if not len(index):
        return np.full(len(frames), -1, np.int64)
    at = np.searchsorted(index, frames, side="right") - 1
    # What is before the first frame of this rate is the first's.
    return np.asarray(np.where(frames >= 0, np.maximum(at, 0), -1), np.int64)


def _covered(rows: pa.Table, pts: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Frames between the log's first and last row."""
    times = rows["pts"].drop_null().to_numpy()
    if not len(times):
        return np.zeros(len(pts), bool)
    end = np.append(pts[1:], np.inf)
    covered: NDArray[np.bool_] = (end > times.min()) & (pts <= times.max())
    return covered


def _counted(column: Any, at: Int64s, key_of: dict[str, int], count: int) -> NDArray[np.int16]:
    """F x K: how often each key is named by the rows of each frame."""
    made = np.zeros((count, len(key_of)), np.int16)
    row, key = _flat(column, key_of)
    inside = at[row] >= 0
    np.add.at(made, (at[row[inside]], key[inside]), 1)
    return made


def _held(
    rows: pa.Table, at: Int64s, key_of: dict[str, int], pts: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """F x K: keys that are down at the begin of the frame's interval or after one of its rows."""
    column, count = rows["keys_held"], len(pts)
    row, key = _flat(column, key_of)
    made = np.zeros((count, len(key_of)), bool)
    inside = at[row] >= 0
    made[at[row[inside]], key[inside]] = True
    said = column.combine_chunks().is_valid().to_numpy(zero_copy_only=False) & (at >= 0)
    numbers = np.flatnonzero(said)
    if not len(numbers):
        return made
    states = np.zeros((len(at), len(key_of)), bool)
    states[row, key] = True
    order = numbers[np.argsort(at[numbers], kind="stable")]
    first = np.searchsorted(at[order], np.arange(count), side="left")
    # What is down after the last row before an interval is down at its begin, but for a row that
    # lies right there.
    times = rows["pts"].fill_null(np.nan).to_numpy()[order]
    here = np.minimum(first, len(order) - 1)
    begins = (at[order[here]] == np.arange(count)) & (times[here] <= pts + CLOCK_S)
    carried = (first > 0) & ~begins
    made[carried] |= states[order[first[carried] - 1]]
    return made


def _flat(column: Any, key_of: dict[str, int]) -> tuple[Int64s, Int64s]:
    """Row and key of every name in a column of lists."""
    values = column.combine_chunks()
    sizes = values.value_lengths().fill_null(0).to_numpy()
    row = np.repeat(np.arange(len(values)), sizes)
    key = np.array([key_of[name] for name in values.flatten().to_pylist()], np.int64)
    return row, key


def _pairs(column: Any) -> tuple[Int64s, F32]:
    """Rows that have a pair, and the pairs, N x 2."""
    values = column.combine_chunks()
    row = np.flatnonzero(values.is_valid().to_numpy(zero_copy_only=False))
    pairs = values.flatten().to_numpy(zero_copy_only=False)
    return row, np.asarray(pairs, np.float32).reshape(-1, 2)


def _summed(column: Any, at: Int64s, count: int, known: NDArray[np.bool_]) -> F32:
    """F x 2: the sum over each frame's rows; NaN where the log does not say it or is not there."""
    row, pairs = _pairs(column)
    made = np.full((count, 2), np.nan, np.float32)
    if len(row):
        made[known] = 0
    inside = at[row] >= 0
    touched = at[row[inside]]
    made[touched[np.isnan(made[touched, 0])]] = 0
    np.add.at(made, touched, pairs[inside])
    return made


def _last(column: Any, at: Int64s, count: int) -> F32:
    """F x 2: the last that was said by the end of each frame; NaN before the first."""
    row, pairs = _pairs(column)
    made = np.full((count, 2), np.nan, np.float32)
    inside = at[row] >= 0
    _carry(made, at[row[inside]], pairs[inside])
    return made


def _axes(column: Any, at: Int64s, axis_of: dict[str, int], count: int) -> F32:
    """F x A: each axis as it was last said by the end of each frame; NaN before the first."""
    made = np.full((count, len(axis_of)), np.nan, np.float32)
    values = column.combine_chunks()
    sizes = values.value_lengths().fill_null(0).to_numpy()
    row = np.repeat(np.arange(len(values)), sizes)
    flat = values.flatten()
    axis = np.array([axis_of[name] for name in flat.field("name").to_pylist()], np.int64)
    numbers = flat.field("value").to_numpy(zero_copy_only=False)
    for n in axis_of.values():
        mine = (axis == n) & (at[row] >= 0)
        _carry(made[:, n : n + 1], at[row[mine]], numbers[mine, None])
    return made


def _carry(made: F32, at: Int64s, values: Any) -> None:
    """Write values at their frames, the last one said for each, and on until the next."""
    made[at] = values
    told = np.isfinite(made[:, 0])
    source = np.maximum.accumulate(np.where(told, np.arange(len(made)), -1))
    made[source >= 0] = made[source[source >= 0]]
