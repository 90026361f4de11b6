"""Logs in JSON: an array, an object with an array, lines, or one file a frame.

The prototype's Roblox recorder writes all but the lines: records with `frame`, `timestamp` in Unix
seconds and nested state, bare or under `roblox_metadata` in an analysis file's `frames`.
"""

from __future__ import annotations

import json
from typing import Any

from stpe.errors import SourceError
from stpe.state.log import Row, StateLog, assemble, frame_of, row_of
from stpe.state.text import as_utf8
from stpe.video.files import Files
from stpe.video.records import parse, unwrapped

_PICTURE = ("frame_width", "frame_height")
_ARRAYS = ("frames", "rows", "states", "log", "data")


def read_json(data: bytes, name: str, sha256: str) -> StateLog:
    """One JSON document. Raises SourceError if it is not JSON or holds no array of records."""
    parsed = parse(data, name)
    units: dict[str, str] = {}
    head: dict[str, Any] = {}
    if isinstance(parsed, dict):
        said = parsed.get("units")
        if isinstance(said, dict):
            units = {str(k): v for k, v in said.items() if isinstance(v, str)}
        found = [key for key in _ARRAYS if isinstance(parsed.get(key), list)]
        if found:
            head = {key: value for key, value in parsed.items() if key != found[0]}
        parsed = parsed[found[0]] if found else [parsed]
    if not isinstance(parsed, list) or not all(isinstance(r, dict) for r in parsed):
        raise SourceError(f"{name} is no array of records; write a list of objects, one a frame")
    # A wrapper of the first state is no part of it, and may tell how large its picture is.
    head |= {key: parsed[0][key] for key in _PICTURE if parsed and key in parsed[0]}
    return assemble([row(r, units) for r in parsed], "json", sha256, name, units=units, head=head)


def read_lines(data: bytes, name: str, sha256: str) -> StateLog:
    """One JSON object a line. A broken last line, as a crash leaves it, is left out and said.

    Raises:
        SourceError: another line is no JSON object.
    """
    rows: list[Row] = []
    repairs: list[str] = []
    lines = [(n, line) for n, line in enumerate(data.splitlines(), 1) if line.strip()]
    for number, line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if isinstance(record, dict):
            rows.append(row(record))
        elif number == lines[-1][0] and rows:
            repairs.append(f"line {number}, the last, is cut off and was left out")
        else:
            raise SourceError(f"line {number} of {name} is no JSON object; repair or remove it")
    return assemble(rows, "jsonl", sha256, name, repairs=repairs)


def read_files(files: Files, name: str, sha256: str) -> StateLog:
    """A folder or ZIP with one JSON file a frame; a single file may hold them all."""
    names = [n for n in files.names if n.lower().endswith(".json")]
    if not names:
        raise SourceError(f"{name} holds no JSON file; give one file a frame, or a log file")
    if len(names) == 1:
        return read_json(as_utf8(files.read(names[0]), names[0])[0], names[0], sha256)
    rows = []
    for number, file in enumerate(names):
        record = parse(as_utf8(files.read(file), file)[0], file)
        if not isinstance(record, dict):
            raise SourceError(f"{file} is no JSON object; each file must hold one frame's state")
        read = row(record)
        rows.append(Row(read.time, number if read.frame is None else read.frame, read.state))
    return assemble(rows, "json files", sha256, name)


def row(record: dict[str, Any], units: dict[str, str] | None = None) -> Row:
    """A record as a row. A wrapper counts frames of its own; the state inside has the clock."""
    state = unwrapped(record)
    frame = frame_of(record)
    return row_of(state, state, frame_of(state) if frame is None else frame, units)
