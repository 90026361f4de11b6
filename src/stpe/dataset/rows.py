"""Reading pinned Lance tables, from any process.

Lance runs threads that do not survive a fork: in a forked child (a worker of a data loader,
usually) a read may hang or crash. Such a child therefore reads through a small process of its own,
started afresh, that answers requests over a pipe.
"""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc

from stpe.dataset.lance_table import lance_table
from stpe.dataset.layout import table_path, table_schema
from stpe.errors import DatasetError

# What the warning asks for is done below.
warnings.filterwarnings("ignore", message="lance is not fork-safe")

_forked = False


def _after_fork() -> None:
    global _forked
    _forked = True


os.register_at_fork(after_in_child=_after_fork)


@dataclass(frozen=True)
class Query:
    """Which rows of a table to read, and which columns.

    One of `where` (a filter), `indices` (row numbers, any order), `span` (first row, number of
    rows) or `null` (a column without value; for no columns), or none of them for every row. Row
    numbers count the rows of the pinned version.
    """

    table: str
    columns: tuple[str, ...]
    where: str | None = None
    indices: tuple[int, ...] | None = None
    span: tuple[int, int] | None = None
    null: str | None = None


class Rows:
    """The tables of one dataset at pinned versions. Safe in threads, forks and pickles."""

    def __init__(self, root: Path, versions: dict[str, int]) -> None:
        self.root = root
        self.versions = versions
        self._spans: dict[str, dict[str, tuple[int, int]]] = {}
        self._forget()

    def _forget(self) -> None:
        self._tables: dict[str, Any] = {}
        self._process: _Process | None = None
        self._pid = os.getpid()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "versions": self.versions}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def count(self, table: str) -> int:
        """Number of rows; 0 for a table that was never written."""
        return self.read(Query(table, ())).num_rows if table in self.versions else 0

    def nulls(self, table: str, column: str) -> int:
        """Number of rows without a value in a column, counted a part of it at a time."""
        return self.read(Query(table, (), null=column)).num_rows if table in self.versions else 0

    def read(self, query: Query) -> pa.Table:
        """The rows, in stored order (that of `indices` where given).

        Raises:
            DatasetError: the files of the pinned version are gone or damaged.
        """
        if self._pid != os.getpid():
            self._forget()
        try:
            if _forked:
                return self._ask(query)
            return _read(self._open(query.table), query)
        except (OSError, ValueError, pa.ArrowException, EOFError) as error:
            raise DatasetError(
                f"table {query.table} of {self.root} cannot be read: it was rewritten since it "
                f"was opened (open it again) or is damaged ({error})"
            ) from error

    def newest(self, table: str) -> int | None:
        """The newest version on disk, pinned or not; None if the table cannot be opened."""
        try:
            return int(lance_table(table_path(self.root, table)).version)
        except (OSError, ValueError):
            return None

    def spans(self, table: str) -> dict[str, tuple[int, int]]:
        """(first row, number of rows) of each video in a table; a video's rows are consecutive."""
        if table not in self._spans:
            if table not in self.versions:
                return {}
            ids = self.read(Query(table, ("video_id",)))["video_id"].combine_chunks()
            runs = pc.run_end_encode(ids)
            ends = runs.run_ends.to_pylist()
            starts = [0, *ends][:-1]
            self._spans[table] = {
                name: (start, end - start)
                for name, start, end in zip(runs.values.to_pylist(), starts, ends, strict=True)
            }
        return self._spans[table]

    def _open(self, table: str) -> Any:
        with self._lock:
            if table not in self._tables:
                path = str(table_path(self.root, table))
                self._tables[table] = lance_table(path, version=self.versions[table])
            return self._tables[table]

    def _ask(self, query: Query) -> pa.Table:
        with self._lock:
            if self._process is None:
                self._process = _Process(self)
            return self._process.read(query)


def _read(table: Any, query: Query) -> pa.Table:
    # A dataset written before a column joined the vocabulary does not have it: its rows are null.
    stored = [name for name in query.columns if name in table.schema.names]
    if query.indices is not None:
        found = table.take(list(query.indices), columns=stored)
    elif not stored:
        # Lance gives no rows for no columns; an empty table keeps the number.
        where = query.where
        if query.null in table.schema.names:
            where = f"{query.null} IS NULL"
        count = table.count_rows(where) if query.span is None else query.span[1]
        found = pa.table({"_": pa.nulls(count)}).select([])
    elif query.span is not None:
        first, number = query.span
        found = table.to_table(columns=stored, offset=first, limit=number)
    else:
        found = table.to_table(columns=stored, filter=query.where)
    if len(stored) == len(query.columns):
        return found
    fields = table_schema(query.table)
    columns = [
        found[name] if name in stored else pa.nulls(len(found), fields.field(name).type)
        for name in query.columns
    ]
    return pa.table(columns, schema=pa.schema([fields.field(name) for name in query.columns]))


class _Process:
    """A process that reads for one that cannot."""

    def __init__(self, rows: Rows) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-c", "from stpe.dataset.rows import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        _send(self._stdin, pickle.dumps(rows))

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._popen.stdin is not None
        return self._popen.stdin

    def read(self, query: Query) -> pa.Table:
        assert self._popen.stdout is not None
        _send(self._stdin, pickle.dumps(query))
        kind, answer = _receive(self._popen.stdout)
        if kind == b"E":
            raise OSError(bytes(answer).decode())
        return pa.ipc.open_stream(answer).read_all()


def _send(pipe: IO[bytes], data: bytes | pa.Buffer, kind: bytes = b"T") -> None:
    pipe.write(struct.pack("<cQ", kind, len(data)))
    pipe.write(data)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> tuple[bytes, bytes]:
    head = pipe.read(9)
    if len(head) < 9:
        raise EOFError("the reading process ended")
    kind, size = struct.unpack("<cQ", head)
    return kind, pipe.read(size)


def serve() -> None:
    """Answer queries from standard input on standard output until it closes."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    rows: Rows = pickle.loads(_receive(requests)[1])
    while True:
        try:
            query: Query = pickle.loads(_receive(requests)[1])
        except EOFError:
            return
        try:
            table = rows.read(query)
        except DatasetError as error:
            _send(answers, str(error).encode(), b"E")
            continue
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        _send(answers, sink.getvalue())
