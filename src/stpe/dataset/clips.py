"""Clips for training: windows of consecutive frames with any signals, at random.

Shapes: T frames of a clip, n rows of one frame, D a vector's length, H W pixels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from stpe.dataset.actions import Actions, names
from stpe.dataset.columns import SHAPES, dense, ragged
from stpe.dataset.pixels import FrameReader
from stpe.dataset.rows import Query
from stpe.dataset.tensors import tensor
from stpe.dataset.timeline import analysed, decoded
from stpe.errors import UsageError
from stpe.signals import KEYS, SIGNALS, expand

if TYPE_CHECKING:
    from stpe.dataset.reader import Dataset

try:  # A map dataset that torch's loader knows, where torch is; the same without it.
    from torch.utils.data import Dataset as _Base
except ImportError:
    _Base = object

Int64s = NDArray[np.int64]
#: Videos whose files a reader of pixels keeps open.
_OPEN_VIDEOS = 8
#: What a forked process inherited open. Closing it would wait for the decoder's threads, which did
#: not come along.
_inherited: list[dict[str, FrameReader]] = []


class ClipDataset(_Base):  # type: ignore[misc]
    """Windows of `length` consecutive frames, never across videos.

    An item is a dict: `video_id`, `frame_index` (T int64), `pts` (T float64), one entry a signal,
    and `pixels` (T x H x W x 3 uint8) where asked for. By kind of signal:

    - a number of `frames`: T values, float with NaN for null where the signal can be null.
    - a list of `frames`: T x D, or in its true shape (`frames.dense`: T x h x w x c); NaN for a
      null frame; a list of T arrays or None where lengths differ; None where every frame is null.
    - text of `frames`: a list of T strings or None.
    - any signal of a table with `frame_index` (`objects`, `motion`, ...): a list of T entries, each
      holding the same for the rows after the previous frame up to this one (the frame's objects;
      the motion intervals that end there).
    - `actions`: what was done while the frame was shown, up to the next frame: `keys_held` (T x K
      bool: down at any moment of it), `keys_pressed` and `keys_released` (T x K int16, how often),
      `pointer` (T x 2, where it was last), `pointer_move`, `wheel` and `camera_turn_deg` (T x 2,
      summed), `axes` (T x A, as last said), `known` (T bool: the log covers the frame). Floats are
      float32 with NaN for what the log does not say. `keys` and `axes` name the K and the A.

    At the native rate frames are all that the decoder gives, and signals of `frames` are null
    where a frame was not analysed.

    Arrays are torch tensors where torch is installed, else NumPy. Items are independent and may
    be read in any order from any number of processes, forked or spawned.
    """

    def __init__(
        self,
        dataset: Dataset,
        signals: Sequence[str],
        length: int = 16,
        stride: int = 1,
        *,
        pixels: bool = False,
        long_side: int | None = None,
        within_shots: bool = False,
        fps: Literal["native"] | None = None,
        transform: Callable[[dict[str, Any]], Any] | None = None,
    ) -> None:
        """See `Dataset.clips`."""
        if length < 1 or stride < 1:
            raise UsageError("a clip needs a length and a stride of at least 1")
        if fps not in (None, "native"):
            raise UsageError('clips have the analysed frames, or with fps="native" every frame')
        self.length = length
        self.pixels = pixels or "pixels" in signals
        self.long_side = long_side
        self.transform = transform
        self._dataset = dataset
        self._acts = "actions" in signals
        self.keys = names(dataset, "keys") if self._acts else ()
        self.axes = names(dataset, "axes") if self._acts else ()
        self._columns = _by_table([n for n in signals if n not in ("pixels", "actions")])
        line = analysed(dataset) if fps is None else decoded(dataset)
        self._index, self._pts, self._spans = line.index, line.pts, line.spans
        self._native = fps == "native"
        self._videos = list(self._spans)
        self._begins = np.array([start for start, _ in self._spans.values()], np.int64)
        shots = line.shots(dataset) if within_shots else None
        self._starts = _starts(self._spans, shots, length, stride)
        if not len(self._starts):
            raise UsageError(_too_long(self._spans, length, within_shots))
        self._edges = {
            table: self._table_edges(table)
            for table in self._columns
            if table != "frames" or self._native
        }
        self._actions: dict[str, Actions] = {}
        self._readers: dict[str, FrameReader] = {}
        self._pid = os.getpid()

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, item: int) -> dict[str, Any]:
        """The clip with that number; negative numbers count from the end."""
        if not -len(self) <= item < len(self):
            raise IndexError(f"clip {item} of {len(self)}")
        first = int(self._starts[item])
        video_id = self._videos[int(np.searchsorted(self._begins, first, side="right")) - 1]
        last = first + self.length
        index = self._index[first:last]
        clip: dict[str, Any] = {
            "video_id": video_id,
            "frame_index": tensor(index),
            "pts": tensor(self._pts[first:last]),
        }
        for table, columns in self._columns.items():
            edges = None
            if table in self._edges:
                begins, ends = self._edges[table]
                edges = np.concatenate((begins[first : first + 1], ends[first:last]))
            clip |= self._read(table, columns, first, edges)
        if self._acts:
            made = self._actions_of(video_id).window(first - self._spans[video_id][0], self.length)
            clip |= {name: tensor(array) for name, array in made.items()}
        if self.pixels:
            clip["pixels"] = tensor(self._reader(video_id).frames(index, self._pts[first:last]))
        return clip if self.transform is None else self.transform(clip)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_readers": {}}

    def _actions_of(self, video_id: str) -> Actions:
        if video_id not in self._actions:
            if len(self._actions) >= _OPEN_VIDEOS:
                self._actions.pop(next(iter(self._actions)))
            start, number = self._spans[video_id]
            here = slice(start, start + number)
            self._actions[video_id] = Actions(
                self._dataset, video_id, self.keys, self.axes, self._index[here], self._pts[here]
            )
        return self._actions[video_id]

    def _read(
        self, table: str, columns: Sequence[str], first: int, edges: Int64s | None
    ) -> dict[str, Any]:
        shapes = [SHAPES[f"{table}.{c}"] for c in columns if f"{table}.{c}" in SHAPES]
        names = tuple(dict.fromkeys([*columns, *shapes]))
        span = (first, self.length) if edges is None else (int(edges[0]), int(edges[-1] - edges[0]))
        if span[1]:
            rows = self._dataset.rows.read(Query(table, names, span=span))
        else:
            rows = self._dataset.empty(table, names)
        read: dict[str, Any] = {}
        for column in columns:
            if table == "frames" and edges is not None:
                read[f"{table}.{column}"] = tensor(_spread(dense(table, column, rows), edges))
            elif edges is None:
                read[f"{table}.{column}"] = tensor(dense(table, column, rows))
            else:
                parts = ragged(table, column, rows, edges - edges[0])
                read[f"{table}.{column}"] = [tensor(part) for part in parts]
        return read

    def _table_edges(self, table: str) -> tuple[Int64s, Int64s]:
        """Row numbers: frame f of `frames` owns the rows begins[f] up to ends[f]."""
        begins = np.zeros(len(self._index), np.int64)
        ends = np.zeros(len(self._index), np.int64)
        spans = self._dataset.rows.spans(table)
        rows = self._dataset.arrow(table, columns=["frame_index"])["frame_index"].to_numpy()
        for video_id, (start, number) in self._spans.items():
            first, count = spans.get(video_id, (0, 0))
            own, here = rows[first : first + count], slice(start, start + number)
            ends[here] = first + np.searchsorted(own, self._index[here], side="right")
            begins[here] = np.concatenate(([first], ends[here][:-1]))[:number]
        return begins, ends

    def _reader(self, video_id: str) -> FrameReader:
        if self._pid != os.getpid():
            _inherited.append(self._readers)
            self._readers, self._pid = {}, os.getpid()
        if video_id not in self._readers:
            if len(self._readers) >= _OPEN_VIDEOS:
                self._readers.pop(next(iter(self._readers))).close()
            self._readers[video_id] = self._dataset.frame_reader(video_id, self.long_side)
        return self._readers[video_id]


def _by_table(signals: Sequence[str]) -> dict[str, list[str]]:
    """Columns by table, in the vocabulary's order."""
    tables: dict[str, list[str]] = {}
    wanted = expand(signals)
    for known in SIGNALS:
        if known.name in wanted:
            tables.setdefault(known.table, []).append(known.column)
    for table in tables:
        if "frame_index" not in KEYS[table]:
            raise UsageError(
                f"signals of {table} do not belong to a frame: a clip takes pixels, actions, and "
                "those of " + ", ".join(t for t, keys in KEYS.items() if "frame_index" in keys)
            )
    return tables


def _starts(
    spans: dict[str, tuple[int, int]], shots: NDArray[Any] | None, length: int, stride: int
) -> Int64s:
    """First rows of all clips: every `stride` frames of a video, or of a shot."""
    starts: list[Int64s] = [np.empty(0, np.int64)]
    for first, number in spans.values():
        cuts = [0, number]
        if shots is not None:
            own = shots[first : first + number]
            cuts[1:1] = (np.flatnonzero(own[1:] != own[:-1]) + 1).tolist()
        for a, b in pairwise(cuts):
            starts.append(np.arange(first + a, first + b - length + 1, stride, dtype=np.int64))
    return np.concatenate(starts)


def _too_long(
    spans: dict[str, tuple[int, int]], length: int, within_shots: bool
) -> str:  # fmt: skip
    longest = max((number for _, number in spans.values()), default=0)
    if longest < length:
        return (
            f"no video has {length} frames in a row: the longest has {longest}; make length smaller"
            + (", or take every frame with fps='native'" if longest else "")
        )
    assert within_shots
    return f"no shot has {length} frames in a row; make length smaller or leave out within_shots"


def _spread(values: Any, edges: Int64s) -> Any:
    """Values of analysed frames at their places among all frames; null elsewhere."""
    there = np.diff(edges) > 0
    if values is None or not there.any():
        return None
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiu":
        kind = values.dtype if values.dtype.kind == "f" else np.float64
        whole = np.full((len(there), *values.shape[1:]), np.nan, kind)
        whole[there] = values
        return whole
    left = iter(values)
    return [next(left) if full else None for full in there]
