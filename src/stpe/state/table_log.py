"""Logs in tables: CSV and Parquet, LeRobot episodes (v2.1 and v3) among the latter."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from stpe.errors import SourceError
from stpe.state.log import FRAMES, Row, StateLog, assemble, frame_of, time_of
from stpe.state.nested import nest


def read_csv(data: bytes, name: str, sha256: str) -> StateLog:
    """A CSV with a header line. Raises SourceError where it is not one."""
    try:
        table = pyarrow.csv.read_csv(io.BytesIO(data))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError) as error:
        why = str(error).splitlines()[0]
        raise SourceError(f"{name} is no CSV with a header ({why}); correct that line") from None
    return _from_table(table, "csv", name, sha256)


def read_parquet(data: bytes, name: str, sha256: str) -> StateLog:
    """A Parquet file. Raises SourceError where it is damaged."""
    try:
        table = pyarrow.parquet.read_table(io.BytesIO(data))
    except (pa.ArrowException, OSError) as error:
        why = str(error).splitlines()[0]
        raise SourceError(f"{name} is a damaged Parquet file ({why}); copy it again") from None
    if {"timestamp", "frame_index", "episode_index"} <= set(table.column_names):
        return _from_lerobot(table, name, sha256)
    return _from_table(table, "parquet", name, sha256)


def _from_table(table: pa.Table, kind: str, name: str, sha256: str) -> StateLog:
    units = {
        field.name: field.metadata[b"unit"].decode("utf-8", "replace")
        for field in table.schema
        if field.metadata and b"unit" in field.metadata
    }
    table = _plain_times(table)
    rows = [Row(time_of(r), frame_of(r), _state(r)) for r in table.to_pylist()]
    return assemble(rows, kind, sha256, name, units=units)


def _plain_times(table: pa.Table) -> pa.Table:
    """Timestamp columns as Unix seconds, so that they are stored like any other number."""
    for at, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            ns = (
                table[field.name]
                .cast(pa.timestamp("ns"))
                .cast(pa.int64())
                .cast(pa.float64(), False)
            )
            seconds = pa.compute.divide(ns, 1e9)
            table = table.set_column(at, field.name, seconds)
    return table


def _from_lerobot(table: pa.Table, name: str, sha256: str) -> StateLog:
    """By its format, `timestamp` is the time in the episode's video and `frame_index` its frame.

    A v3 file may hold several episodes; its videos hold them one after the other too.
    """
    records = table.to_pylist()
    episodes = list(dict.fromkeys(r["episode_index"] for r in records))
    if len(episodes) == 1:
        rows = [Row(time_of(r), frame_of(r), _state(r)) for r in records]
        return assemble(rows, "lerobot", sha256, name, clock="video")
    rows = [Row(None, number, _state(r)) for number, r in enumerate(records)]
    said = f"{len(episodes)} episodes follow each other, as in the video file of the same number"
    return assemble(rows, "lerobot", sha256, name, repairs=[said])


def _state(record: dict[str, Any]) -> dict[str, Any]:
    return nest({k: v for k, v in record.items() if v is not None or k in FRAMES})
