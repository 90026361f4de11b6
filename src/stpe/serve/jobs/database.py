"""Two SQL databases behind one call: SQLite in WAL mode, and Postgres."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote

from stpe.errors import MissingExtraError, UsageError

Row = tuple[Any, ...]
#: Seconds a call tries to reach a database that was restarted or is busy.
_PATIENCE_S = 10.0


class Database(Protocol):
    """Statements with `?` for values, each transaction by one thread at a time."""

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """All statements inside happen, or none."""
        ...

    def columns(self, run: Transaction, table: str) -> set[str]:
        """Names of a table's columns."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


class Transaction(Protocol):
    """Inside `Database.transaction`."""

    def run(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """Rows that the statement gives; none for one that gives none."""
        ...


def connect(url: str) -> Database:
    """Open `sqlite:///PATH` or `postgresql://...`.

    Raises:
        UsageError: another kind of URL, or it cannot be opened.
        MissingExtraError: Postgres without psycopg.
    """
    if url.startswith("sqlite:///"):
        return _Sqlite(Path(unquote(url.removeprefix("sqlite:///"))))
    if url.startswith(("postgresql://", "postgres://")):
        return _Postgres(url)
    raise UsageError("STPE_JOBS_URL: give sqlite:///PATH or postgresql://...")


class _Sqlite:
    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # SQLite's own are as this is
            self._connection = sqlite3.connect(
                path, timeout=_PATIENCE_S, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode=WAL")
            # A job that was answered for must outlive a power cut, not only a crash.
            self._connection.execute("PRAGMA synchronous=FULL")
        except (OSError, sqlite3.Error) as error:
            raise UsageError(f"STPE_JOBS_URL: {path} cannot be opened ({error})") from None

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        with self._lock:
            # IMMEDIATE, because a read that turns into a write cannot wait for another writer.
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def run(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        return list(self._connection.execute(statement, values))

    def columns(self, run: Transaction, table: str) -> set[str]:
        return {row[0] for row in run.run("SELECT name FROM pragma_table_info(?)", (table,))}

    def close(self) -> None:
        with self._lock:
            self._connection.close()


class _Postgres:
    def __init__(self, url: str) -> None:
        try:
            self._module: Any = import_module("psycopg")
        except ImportError:
            raise MissingExtraError(
                "psycopg is not installed: pip install 'stpe[postgres]', or use sqlite:///PATH"
            ) from None
        self._url = url
        self._lock = threading.Lock()
        try:
            self._connection = self._open()
        except self._module.Error as error:
            reason = str(error).splitlines()[0]
            raise UsageError(f"STPE_JOBS_URL: Postgres cannot be reached ({reason})") from None

    def _open(self) -> Any:
        return self._module.connect(self._url, connect_timeout=round(_PATIENCE_S))

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        with self._lock:
            self._alive()
            with self._connection.transaction():
                yield self

    def _alive(self) -> None:
        """Connect again if the server was restarted."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                self._connection.execute("SELECT 1")
                self._connection.commit()
                return
            except self._module.OperationalError:
                if time.monotonic() > deadline:
                    raise
                self._connection.close()
                time.sleep(0.2)
                try:
                    self._connection = self._open()
                except self._module.OperationalError:
                    continue

    def run(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        cursor = self._connection.execute(statement.replace("?", "%s"), values)
        return list(cursor) if cursor.description else []

    def columns(self, run: Transaction, table: str) -> set[str]:
        asked = "SELECT column_name FROM information_schema.columns WHERE table_name = ?"
        return {row[0] for row in run.run(asked, (table,))}

    def close(self) -> None:
        with self._lock:
            self._connection.close()
