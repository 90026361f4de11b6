"""From Arrow columns to arrays in their true shape, with NaN for null numbers."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stpe.signals import signal

#: Column of the same table that holds the shape (or begins with it) of a flattened array.
SHAPES: dict[str, str] = {
    "frames.dense": "dense_shape",
    "frames.saliency": "saliency_shape",
    "frames.edges": "dense_shape",
    "frames.depth": "depth_shape",
    "motion.flow": "flow_shape",
    "motion.flow_confidence": "flow_shape",
    "motion.flow_confidence_raw": "flow_shape",
}

Column = NDArray[Any] | list[Any] | None


def dense(table: str, column: str, rows: pa.Table) -> Column:
    """One column of `rows`, a value a row.

    Returns:
        Numbers: an array of N, float with NaN where the signal can be null. Lists of numbers: N x
        their shape, NaN for null; a list of arrays and None where shapes differ (or whole numbers
        are null); None where all are null. Anything else: a list of Python values and None.
    """
    values = rows[column].combine_chunks()
    kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        if signal(f"{table}.{column}").null and pa.types.is_integer(kind):
            values = values.cast(pa.float64())
        return np.asarray(values.to_numpy(zero_copy_only=False))
    if pa.types.is_list(kind) and _is_number(kind.value_type):
        return _arrays(table, column, rows, values)
    return list(values.to_pylist())


def ragged(table: str, column: str, rows: pa.Table, edges: NDArray[np.int64]) -> list[Column]:
    """The same, cut into groups: group g holds the rows edges[g] up to edges[g + 1]."""
    whole = dense(table, column, rows)
    if whole is None:
        return [None] * (len(edges) - 1)
    return [whole[a:b] for a, b in pairwise(edges)]


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _arrays(table: str, column: str, rows: pa.Table, values: Any) -> Column:
    valid = np.asarray(values.is_valid().to_numpy(zero_copy_only=False), bool)
    if not valid.any():
        return None if len(values) else np.empty((0,))
    shapes = _shapes(table, column, rows, values)
    flat = values.flatten().to_numpy(zero_copy_only=False)
    alike = {shape for shape, there in zip(shapes, valid, strict=True) if there}
    if len(alike) == 1:
        (shape,) = alike
        if valid.all():
            return np.asarray(flat.reshape(-1, *shape))
        if flat.dtype.kind == "f":
            whole = np.full((len(values), *shape), np.nan, flat.dtype)
            whole[valid] = flat.reshape(-1, *shape)
            return whole
    ends = np.cumsum([int(np.prod(shape)) if there else 0 for shape, there in
                      zip(shapes, valid, strict=True)])  # fmt: skip
    return [
        flat[end - int(np.prod(shape)) : end].reshape(shape) if there else None
        for shape, there, end in zip(shapes, valid, ends, strict=True)
    ]


def _shapes(table: str, column: str, rows: pa.Table, values: Any) -> list[tuple[int, ...]]:
    sizes = [0 if size is None else size for size in values.value_lengths().to_pylist()]
    name = SHAPES.get(f"{table}.{column}")
    if name is None:
        return [(size,) for size in sizes]
    shapes = []
    for size, stored in zip(sizes, rows[name].to_pylist(), strict=True):
        # Edges lie on the grid of the dense features, a confidence on that of the flow: their
        # shape begins as the stored one does.
        fits = (
            [tuple(stored[:n]) for n in (1, 2, 3) if np.prod(stored[:n]) == size] if stored else []
        )
        shapes.append(fits[-1] if fits else (size,))
    return shapes
