"""Putting tables together: rows of one stage with columns of others, matched by key.

Arrow's own join cannot carry list columns, so only keys and row numbers are joined and the
columns are taken by row number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stpe.errors import StageError
from stpe.pipeline.plan import Read
from stpe.signals import KEYS, key_fields, schema

#: Gives the columns (beside the keys) of a table that a stage, or for None the pipeline, made.
Fetch = Callable[[str | None, str, Sequence[str]], pa.Table]


def conform(stage: str, table: str, columns: Iterable[str], rows: pa.Table) -> pa.Table:
    """A stage's rows in the vocabulary's types and column order.

    Raises:
        StageError: a column is missing or of another type.
    """
    target = schema(table, columns)
    missing = [name for name in target.names if name not in rows.column_names]
    if missing:
        raise StageError(f"stage {stage} gave {table} without {', '.join(missing)}")
    try:
        return rows.select(target.names).cast(target)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise StageError(f"stage {stage} gave {table} of another type: {error}") from error


def sort(table: str, rows: pa.Table) -> pa.Table:
    """Rows in the order of the table's keys; the same object where they are in order already."""
    keys = KEYS[table]
    if not keys or rows.num_rows < 2:
        return rows
    order = pc.sort_indices(rows, sort_keys=[(key, "ascending") for key in keys]).to_numpy()
    return rows if (order[1:] > order[:-1]).all() else rows.take(pa.array(order))


def compose(read: Read, fetch: Fetch) -> pa.Table:
    """One table: the creator's rows with the columns of all sources, sorted by key.

    A row that some source does not answer for gets nulls in that source's columns.
    """
    rows = sort(read.table, fetch(read.creator, read.table, read.columns[read.creator]))
    for source, columns in read.columns.items():
        if source != read.creator:
            rows = _join(read.table, rows, fetch(source, read.table, columns), columns)
    wanted = {c for columns in read.columns.values() for c in columns}
    return rows.select(schema(read.table, wanted).names)


def _join(table: str, rows: pa.Table, other: pa.Table, columns: Sequence[str]) -> pa.Table:
    indices = _match(table, rows, other)
    whole = len(indices) == other.num_rows and np.array_equal(indices, np.arange(len(indices)))
    taken = other.select(list(columns))
    if not whole:
        taken = taken.take(pa.array(indices, mask=indices < 0))
    for name in columns:
        rows = rows.append_column(taken.schema.field(name), taken[name])
    return rows


def _match(
    table: str, rows: pa.Table, other: pa.Table
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """For each of `rows` the number of the row of `other` with the same key, or -1."""
    keys = list(KEYS[table])
    if not keys:
        return np.full(rows.num_rows, 0 if other.num_rows else -1, np.int64)
    left = rows.select(keys)
    right = other.select(keys)
    if left.equals(right):
        return np.arange(rows.num_rows, dtype=np.int64)
    left = left.append_column("_row", pa.array(np.arange(rows.num_rows)))
    right = right.append_column("_other", pa.array(np.arange(other.num_rows)))
    found = left.join(right, keys, join_type="left outer", use_threads=False).sort_by("_row")
    if found.num_rows != rows.num_rows:
        raise StageError(f"a stage gave two rows of {table} for one {' and '.join(keys)}")
    return np.asarray(found["_other"].fill_null(-1).to_numpy(), np.int64)


def empty(table: str, columns: Iterable[str]) -> pa.Table:
    """No rows, with the key columns and `columns`."""
    return schema(table, columns).empty_table()


def within(rows: pa.Table, frames: Sequence[int]) -> pa.Table:
    """The rows whose `frame_index` is one of `frames` (ascending); `rows` sorted by it.

    A table without `frame_index` is given whole.
    """
    if "frame_index" not in rows.column_names:
        return rows
    if not frames:
        return rows.slice(0, 0)
    index = rows["frame_index"].to_numpy()
    first, end = np.searchsorted(index, (frames[0], frames[-1] + 1))
    rows = rows.slice(int(first), int(end - first))
    inside = np.isin(index[first:end], np.asarray(frames))
    return rows if inside.all() else rows.filter(pa.array(inside))


def concat(parts: Sequence[pa.Table]) -> pa.Table:
    """Parts one after the other, as one chunk a column."""
    return parts[0] if len(parts) == 1 else pa.concat_tables(parts).combine_chunks()


def keys_and(table: str, columns: Iterable[str]) -> list[str]:
    """Names of the key columns, then `columns`."""
    names = [field.name for field in key_fields(table)]
    return [*names, *(c for c in columns if c not in names)]


def facts_row(facts: Mapping[str, object]) -> pa.Table:
    """The one `videos` row."""
    target = schema("videos", facts)
    return pa.Table.from_pylist([dict(facts)], schema=target)
