"""Batches of clips whose rows differ in number, for a torch `DataLoader`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stpe.dataset.tensors import tensor

Array = NDArray[Any]
#: Added to the name of what was padded.
MASK = ".mask"


def collate(clips: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One batch of B clips from `Dataset.clips`, as `DataLoader(clips, collate_fn=collate)` asks.

    - arrays of one shape: stacked, B x T x ...
    - a list of rows a frame (`objects.box_xyxy`): padded with zeros to B x T x N x ..., with a
      `NAME.mask` (B x T x N bool) that is true where there is a row.
    - arrays whose shapes differ, and clips without any: padded likewise, the mask having the shape
      of the array itself.
    - text, and what is absent from every clip: a list of B entries.

    >>> batch = collate([{"x": [np.ones((2, 4))]}, {"x": [np.ones((1, 4))]}])
    >>> tuple(batch["x"].shape), batch["x.mask"].tolist()
    ((2, 1, 2, 4), [[[True, True]], [[True, False]]])
    """
    batch: dict[str, Any] = {}
    for name in clips[0]:
        values = [clip[name] for clip in clips]
        if all(_is_array(value) or value is None for value in values):
            made, mask = _stacked(values)
        elif all(value is None or _holds_arrays(value) for value in values):
            made, mask = _rows(values)
        else:
            made, mask = values, None
        batch[name] = tensor(made)
        if mask is not None:
            batch[name + MASK] = tensor(mask)
    return batch


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _holds_arrays(value: Any) -> bool:
    return isinstance(value, list) and all(v is None or _is_array(v) for v in value)


def _stacked(values: list[Any]) -> tuple[Any, Array | None]:
    arrays = [None if v is None else np.asarray(v) for v in values]
    there = [a for a in arrays if a is not None]
    if not there:
        return values, None
    if len(there) == len(arrays) and len({a.shape for a in there}) == 1:
        return np.stack(there), None
    return _padded(arrays)


def _rows(values: list[Any]) -> tuple[Any, Array | None]:
    """Clips of T frames, each with an array of rows or None."""
    frames = max((len(v) for v in values if v is not None), default=0)
    entries = [
        None if v is None or t >= len(v) or v[t] is None else np.asarray(v[t])
        for v in values
        for t in range(frames)
    ]
    known = [e for e in entries if e is not None and e.size]
    if not known:
        return values, None
    # A frame without rows holds no shape but that of its emptiness.
    entries = [None if e is None or not e.size else e for e in entries]
    made, whole = _padded(entries)
    mask = whole.reshape(*whole.shape[:2], -1).any(axis=2)
    if len({e.shape[1:] for e in known}) > 1:
        mask = whole
    shape = (len(values), frames)
    return made.reshape(*shape, *made.shape[1:]), mask.reshape(*shape, *mask.shape[1:])


def _padded(arrays: Sequence[Array | None]) -> tuple[Array, Array]:
    """Arrays in one of the largest shape, zero where they do not reach; and where they do."""
    there = [a for a in arrays if a is not None]
    depth = max(a.ndim for a in there)
    there = [a.reshape(*a.shape, *(1,) * (depth - a.ndim)) for a in there]
    shape = tuple(np.max([a.shape for a in there], axis=0).tolist())
    kind = np.result_type(*{a.dtype for a in there})
    made = np.zeros((len(arrays), *shape), kind)
    mask = np.zeros(made.shape, bool)
    left = iter(there)
    for at, array in enumerate(arrays):
        if array is not None:
            whole = next(left)
            place = tuple(slice(0, size) for size in whole.shape)
            made[at][place], mask[at][place] = whole, True
    return made, mask
