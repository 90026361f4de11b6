"""Logs in tables: CSV and Parquet, LeRobot episodes (v2.1 and v3) among the latter."""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from stpe.clocks.stamps import Stamp, stamp_of
from stpe.clocks.units import LOCAL_DATES, named_unit, time_field, unit_of
from stpe.errors import SourceError
from stpe.state.log import FRAMES, Row, StateLog, assemble, frame_of, row_of
from stpe.state.nested import nest


def read_csv(data: bytes, name: str, sha256: str) -> StateLog:
    """A CSV with a header line, parted by commas, semicolons or tabs. Raises SourceError where it
    is not one."""
    parted = _delimiter(data)
    # Where commas do not part fields, they are found in numbers.
    comma = parted == ";" and re.search(rb"(?:^|;)-?\d+,\d+(?:;|\r?$)", data[:65536], re.M)
    try:
        table = pyarrow.csv.read_csv(
            io.BytesIO(data),
            parse_options=pyarrow.csv.ParseOptions(delimiter=parted, newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(decimal_point="," if comma else "."),
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError) as error:
        why = str(error).splitlines()[0]
        raise SourceError(f"{name} is no CSV with a header ({why}); correct that line") from None
    return _from_table(table, "csv", name, sha256)


def _delimiter(data: bytes) -> str:
    """The sign that parts the header's names."""
    header = data.split(b"\n", 1)[0].decode("utf-8", "replace")
    return max(",;\t", key=header.count) if any(map(header.count, ",;\t")) else ","


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
    clock = _clock(table, units, name)
    records = _plain_times(table).to_pylist()
    rows = [Row(None, frame_of(r), _state(r)) for r in records]
    if clock is not None:
        timed = zip(rows, clock, strict=True)
        rows = [Row(stamp.value, r.frame, r.state, stamp.unit) for r, stamp in timed]
    return assemble(rows, kind, sha256, name, units=units)


def _clock(table: pa.Table, units: dict[str, str], name: str) -> list[Stamp] | None:
    """The time of each row, in the unit of its column: of its type, else of its metadata or name;
    None where no column holds times."""
    field = time_field(tuple(table.column_names))
    if field is None:
        return None
    column = table[field]
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_duration(kind) or pa.types.is_time(kind):
        unit = unit_of(kind.unit)
        assert unit is not None
        if pa.types.is_timestamp(kind) and kind.tz is None:
            unit = replace(unit, note=LOCAL_DATES.note)
        whole = pa.int32() if kind.bit_width == 32 else pa.int64()
        values = column.cast(whole).to_pylist()
    else:
        _refuse_short_floats(column, field, name)
        unit = unit_of(units.get(field, "")) or named_unit(field)
        values = column.to_pylist()
    return [Stamp(math.nan, unit) if v is None else stamp_of(v, unit) for v in values]


def _refuse_short_floats(column: pa.ChunkedArray, field: str, name: str) -> None:
    """Unix seconds in 32 bits are known to two minutes only."""
    if not pa.types.is_floating(column.type) or pa.types.is_float64(column.type):
        return
    most = float(np.nanmax(np.abs(column.to_numpy()), initial=0.0))
    if most > 1e6:
        digits = 128 if most > 1e9 else most * 2**-23
        raise SourceError(
            f"{name}: {field} has {column.type} numbers as large as {most:.4g}, which are known to "
            f"{digits:.2g} only; write it as a 64-bit number"
        )


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
        rows = [row_of(r, _state(r), frame_of(r)) for r in records]
        return assemble(rows, "lerobot", sha256, name, clock="video")
    rows = [Row(None, number, _state(r)) for number, r in enumerate(records)]
    said = f"{len(episodes)} episodes follow each other, as in the video file of the same number"
    return assemble(rows, "lerobot", sha256, name, repairs=[said])


def _state(record: dict[str, Any]) -> dict[str, Any]:
    return nest({k: v for k, v in record.items() if v is not None or k in FRAMES})
