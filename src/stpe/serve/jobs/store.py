"""Jobs that outlive the process.

A job is taken under a lease that its runner keeps renewing, so that when a process dies its jobs
go back into the queue; the pipeline then resumes from the artifacts that were made. Every change
is also an event with a number of its own, for those who watch.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stpe import strict_json
from stpe.serve.failures import (
    ConflictError,
    NotFoundError,
    TooManyRequestsError,
)
from stpe.serve.jobs.database import Database, Transaction, connect
from stpe.serve.jobs.settings import JobSettings

Status = Literal["IN_QUEUE", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELLED"]
ENDED: tuple[Status, ...] = ("COMPLETED", "FAILED", "CANCELLED")
#: The stage from which a job can no longer be cancelled: its rows are being sealed.
SEALING = "storing"
#: Seconds without a sign of life after which a job belongs to nobody.
LEASE_S = 10.0
#: A job that its runner died on so often is not tried again.
ATTEMPTS = 3

_TABLES = (
    """CREATE TABLE IF NOT EXISTS stpe_jobs (
        id TEXT PRIMARY KEY, operation TEXT NOT NULL, lane TEXT NOT NULL, status TEXT NOT NULL,
        input TEXT, input_bytes BIGINT NOT NULL, input_sha256 TEXT NOT NULL,
        idempotency_key TEXT UNIQUE, output TEXT, error TEXT, http_status INTEGER,
        progress DOUBLE PRECISION, stage TEXT, version INTEGER NOT NULL,
        attempts INTEGER NOT NULL, owner TEXT, lease DOUBLE PRECISION,
        created DOUBLE PRECISION NOT NULL, started DOUBLE PRECISION, ended DOUBLE PRECISION)""",
    "CREATE INDEX IF NOT EXISTS stpe_jobs_queue ON stpe_jobs (status, lane, created)",
    """CREATE TABLE IF NOT EXISTS stpe_job_events (
        job_id TEXT NOT NULL, number INTEGER NOT NULL, data TEXT NOT NULL,
        PRIMARY KEY (job_id, number))""",
)
#: Columns that came later, added to the table where it lacks them.
_LATER = {"client": "TEXT", "upload_id": "TEXT", "streamed": "INTEGER NOT NULL DEFAULT -1"}
_COLUMNS = (
    "id, operation, status, output, error, http_status, progress, stage, created, started, ended"
)


@dataclass(frozen=True)
class Job:
    """A job as it stands. Times are seconds since the epoch.

    Attributes:
        output: what the operation answered; None before, or without `output` asked for.
        error, http_status: why it failed, and the status that stands for it.
        progress: 0..1; None while it waits.
        stage: what is being done.
    """

    id: str
    operation: str
    status: Status
    output: dict[str, Any] | None
    error: str | None
    http_status: int | None
    progress: float | None
    stage: str | None
    created: float
    started: float | None
    ended: float | None


@dataclass(frozen=True)
class Taken:
    """A job to run."""

    id: str
    operation: str
    data: Any


class JobStore:
    """The jobs of one database. Safe from any thread and from several processes.

    Args:
        settings: where it lies and how much may wait.

    Attributes:
        most_jobs: jobs that a client may have at a time; None for as many as there may be.

    Raises:
        UsageError, MissingExtraError: the database cannot be opened.
    """

    def __init__(self, settings: JobSettings) -> None:
        self._settings = settings
        self.most_jobs: Callable[[str | None], int | None] = lambda client: None
        self._owner = uuid.uuid4().hex
        self._database: Database = connect(settings.url)
        with self._database.transaction() as run:
            self._one_at_a_time(run)
            for table in _TABLES:
                run.run(table)
            there = self._database.columns(run, "stpe_jobs")
            for name, kind in _LATER.items():
                if name not in there:
                    run.run(f"ALTER TABLE stpe_jobs ADD COLUMN {name} {kind}")

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def submit(
        self, operation: str, lane: str, data: Any, key: str | None, client: str | None = None
    ) -> Job:
        """Queue a job, or return the one that was queued under the same idempotency key.

        Args:
            operation, lane, data: what to run, and beside what.
            key: idempotency key.
            client: name of the API key that asks.

        Raises:
            TooManyRequestsError: enough is waiting.
            ConflictError: the key was used for another request.
        """
        text = strict_json.dumps(data, sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(f"{operation}\n{text}".encode()).hexdigest()
        now = time.time()
        with self._database.transaction() as run:
            if key is not None:
                found = run.run(
                    "SELECT id, input_sha256 FROM stpe_jobs WHERE idempotency_key = ?", (key,)
                )
                if found:
                    if found[0][1] != digest:
                        raise ConflictError(
                            "this Idempotency-Key was used for another request; take a new one"
                        )
                    return _get(run, found[0][0])
            self._admit(run, len(text), client)
            job_id = uuid.uuid4().hex
            upload = str(data.get("upload_id", "")) if isinstance(data, dict) else ""
            inserted = run.run(
                "INSERT INTO stpe_jobs (id, operation, lane, status, input, input_bytes, "
                "input_sha256, idempotency_key, version, attempts, created, client, upload_id) "
                "VALUES (?, ?, ?, 'IN_QUEUE', ?, ?, ?, ?, 0, 0, ?, ?, ?) "
                "ON CONFLICT (idempotency_key) DO NOTHING RETURNING id",
                (
                    job_id,
                    operation,
                    lane,
                    text,
                    len(text),
                    digest,
                    key,
                    now,
                    client,
                    upload or None,
                ),
            )
            if inserted:
                _tell(run, job_id)
                return _get(run, job_id)
        # Another process was first with this key.
        return self.submit(operation, lane, data, key, client)

    def _admit(self, run: Transaction, size: int, client: str | None) -> None:
        most = self.most_jobs(client)
        if most is not None:
            own = run.run(
                "SELECT count(*) FROM stpe_jobs WHERE client = ? "
                "AND status IN ('IN_QUEUE', 'IN_PROGRESS')",
                (client,),
            )[0][0]
            if own >= most:
                raise TooManyRequestsError(
                    f"the key {client} has {own} jobs under way, which is all it may have", 5.0
                )
        waiting, held = run.run(
            "SELECT count(*), coalesce(sum(input_bytes), 0) FROM stpe_jobs "
            "WHERE status = 'IN_QUEUE'"
        )[0]
        if waiting >= self._settings.max_queued:
            raise TooManyRequestsError(f"{waiting} jobs are waiting, which is all that may", 5.0)
        if waiting and held + size > self._settings.max_queued_bytes:
            raise TooManyRequestsError("waiting jobs hold all the room there is for them", 5.0)

    def get(self, job_id: str) -> Job:
        """One job. Raises NotFoundError."""
        with self._database.transaction() as run:
            return _get(run, job_id)

    def events(self, job_id: str, after: int) -> list[tuple[int, dict[str, Any]]]:
        """(number, event) of what happened to a job past event number `after`."""
        with self._database.transaction() as run:
            rows = run.run(
                "SELECT number, data FROM stpe_job_events WHERE job_id = ? AND number > ? "
                "ORDER BY number",
                (job_id, after),
            )
        return [(number, json.loads(data)) for number, data in rows]

    def cancel(self, job_id: str) -> Job:
        """End a job that has not ended; one that has stays as it is.

        Raises:
            NotFoundError: there is no such job.
            ConflictError: its rows are being sealed, which takes a moment and is not undone.
        """
        with self._database.transaction() as run:
            changed = run.run(
                "UPDATE stpe_jobs SET status = 'CANCELLED', input = NULL, ended = ?, "
                "version = version + 1 WHERE id = ? AND status IN ('IN_QUEUE', 'IN_PROGRESS') "
                f"AND coalesce(stage, '') <> '{SEALING}' RETURNING id",
                (time.time(), job_id),
            )
            if changed:
                _tell(run, job_id)
            job = _get(run, job_id)
        if job.status not in ENDED:
            raise ConflictError("the job is storing its result and will end in a moment")
        return job

    def purge(self, client: str | None) -> int:
        """Cancel the jobs that wait, of one client or, for None, all; how many there were."""
        with self._database.transaction() as run:
            changed = run.run(
                "UPDATE stpe_jobs SET status = 'CANCELLED', input = NULL, ended = ?, "
                "version = version + 1 WHERE status = 'IN_QUEUE' "
                "AND (client = ? OR ? IS NULL) RETURNING id",
                (time.time(), client or "", client),
            )
            for (job_id,) in changed:
                _tell(run, job_id)
        return len(changed)

    def stream(self, job_id: str) -> tuple[Job, list[Any]]:
        """A job, and what it told since it was last asked this: {progress, stage} while it works,
        its output in the end. Raises NotFoundError."""
        with self._database.transaction() as run:
            job = _get(run, job_id)
            events = run.run(
                "SELECT number, data FROM stpe_job_events WHERE job_id = ? AND number > "
                "(SELECT streamed FROM stpe_jobs WHERE id = ?) ORDER BY number",
                (job_id, job_id),
            )
            if events:
                run.run("UPDATE stpe_jobs SET streamed = ? WHERE id = ?", (events[-1][0], job_id))
        told = [json.loads(data) for _, data in events]
        chunks: list[Any] = [
            {"progress": event["progress"], "stage": event["stage"]}
            for event in told
            if event["status"] == "IN_PROGRESS"
        ]
        if job.output is not None and any(event["status"] == "COMPLETED" for event in told):
            chunks.append(job.output)
        return job, chunks

    def take(self, lane: str) -> Taken | None:
        """The oldest waiting job of a lane, now this process's own. In the lane `video` as many
        run at a time as the settings say, whichever processes run them."""
        now = time.time()
        room = (
            "AND (SELECT count(*) FROM stpe_jobs b WHERE b.lane = 'video' AND b.owner IS NOT NULL "
            f"AND (b.status = 'IN_PROGRESS' OR b.lease > {now!r})) < {self._settings.parallel} "
            if lane == "video"
            else ""
        )
        with self._database.transaction() as run:
            self._one_at_a_time(run)
            found = run.run(
                "UPDATE stpe_jobs SET status = 'IN_PROGRESS', owner = ?, lease = ?, started = ?, "
                "progress = 0, stage = 'starting', attempts = attempts + 1, version = version + 1 "
                "WHERE id = (SELECT a.id FROM stpe_jobs a WHERE a.status = 'IN_QUEUE' "
                f"AND a.lane = ? {room}ORDER BY a.created, a.id LIMIT 1) "
                "RETURNING id, operation, input",
                (self._owner, now + LEASE_S, now, lane),
            )
            if not found:
                return None
            job_id, operation, text = found[0]
            _tell(run, job_id)
        return Taken(job_id, operation, json.loads(text))

    def _one_at_a_time(self, run: Transaction) -> None:
        # SQLite has one writer anyway; in Postgres two could both find the lane free.
        if not self._settings.url.startswith("sqlite"):
            run.run("SELECT pg_advisory_xact_lock(7783001)")

    def renew(self, job_ids: Sequence[str]) -> set[str]:
        """Keep these jobs; returns those that are no longer this process's to run."""
        lost = set()
        with self._database.transaction() as run:
            for job_id in job_ids:
                kept = run.run(
                    "UPDATE stpe_jobs SET lease = ? WHERE id = ? AND owner = ? "
                    "AND status = 'IN_PROGRESS' RETURNING id",
                    (time.time() + LEASE_S, job_id, self._owner),
                )
                if not kept:
                    lost.add(job_id)
        return lost

    def advance(self, job_id: str, progress: float, stage: str) -> bool:
        """Note progress. False where the job is no longer this process's to run."""
        return self._change(job_id, "progress = ?, stage = ?", (progress, stage))

    def complete(self, job_id: str, output: dict[str, Any]) -> bool:
        """End a job well."""
        return self._change(
            job_id,
            "status = 'COMPLETED', progress = 1, stage = NULL, input = NULL, output = ?, ended = ?",
            (strict_json.dumps(output), time.time()),
        )

    def fail(self, job_id: str, error: str, http_status: int) -> bool:
        """End a job badly."""
        return self._change(
            job_id,
            "status = 'FAILED', stage = NULL, input = NULL, error = ?, http_status = ?, ended = ?",
            (error.replace("\0", ""), http_status, time.time()),
        )

    def release(self, job_id: str) -> bool:
        """Put a job back into the queue, as if it had not been taken."""
        return self._change(
            job_id,
            "status = 'IN_QUEUE', owner = NULL, lease = NULL, progress = NULL, stage = NULL, "
            "attempts = attempts - 1",
            (),
        )

    def let_go(self, job_id: str) -> None:
        """This process no longer works on a job, however it ended. One whose end was not noted
        keeps its lease, and is queued again once that has lapsed."""
        with self._database.transaction() as run:
            run.run(
                "UPDATE stpe_jobs SET owner = NULL, lease = NULL WHERE id = ? AND owner = ? "
                "AND status <> 'IN_PROGRESS'",
                (job_id, self._owner),
            )

    def _change(self, job_id: str, assignments: str, values: Sequence[Any]) -> bool:
        with self._database.transaction() as run:
            changed = run.run(
                f"UPDATE stpe_jobs SET {assignments}, version = version + 1 "
                "WHERE id = ? AND owner = ? AND status = 'IN_PROGRESS' RETURNING id",
                (*values, job_id, self._owner),
            )
            if changed:
                _tell(run, job_id)
        return bool(changed)

    def recover(self) -> None:
        """Queue again what dead processes were running, and forget what ended long ago."""
        now = time.time()
        with self._database.transaction() as run:
            for job_id, attempts in run.run(
                "SELECT id, attempts FROM stpe_jobs WHERE status = 'IN_PROGRESS' "
                "AND (lease IS NULL OR lease < ?)",
                (now,),
            ):
                if attempts < ATTEMPTS:
                    change = "status = 'IN_QUEUE', progress = NULL"
                    values: tuple[Any, ...] = ()
                else:
                    change = (
                        "status = 'FAILED', input = NULL, error = ?, http_status = 500, ended = ?"
                    )
                    values = (f"the server died on this job {attempts} times", now)
                run.run(
                    f"UPDATE stpe_jobs SET {change}, owner = NULL, lease = NULL, stage = NULL, "
                    "version = version + 1 WHERE id = ?",
                    (*values, job_id),
                )
                _tell(run, job_id)
            old = (now - 86400 * self._settings.keep_days,)
            run.run(
                "DELETE FROM stpe_job_events WHERE job_id IN "
                "(SELECT id FROM stpe_jobs WHERE ended < ?)",
                old,
            )
            run.run("DELETE FROM stpe_jobs WHERE ended < ?", old)

    def counts(self) -> tuple[dict[str, int], int]:
        """Number of jobs by status, and of those that were taken up again."""
        with self._database.transaction() as run:
            rows = run.run("SELECT status, count(*) FROM stpe_jobs GROUP BY status")
            again = run.run("SELECT count(*) FROM stpe_jobs WHERE attempts > 1")
        return {status: int(count) for status, count in rows}, int(again[0][0])

    def works(self, job_id: str) -> bool:
        """Whether a job waits, or is at work in some process."""
        with self._database.transaction() as run:
            rows = run.run(
                "SELECT 1 FROM stpe_jobs WHERE id = ? "
                "AND (status IN ('IN_QUEUE', 'IN_PROGRESS') OR lease > ?)",
                (job_id, time.time()),
            )
        return bool(rows)

    def uses(self, upload_id: str) -> bool:
        """Whether a job that has not ended reads this upload."""
        with self._database.transaction() as run:
            rows = run.run(
                "SELECT 1 FROM stpe_jobs WHERE upload_id = ? "
                "AND (status = 'IN_QUEUE' OR owner IS NOT NULL) LIMIT 1",
                (upload_id,),
            )
        return bool(rows)

    def count(self, status: str) -> int:
        """Number of jobs of a status."""
        with self._database.transaction() as run:
            rows = run.run("SELECT count(*) FROM stpe_jobs WHERE status = ?", (status,))
        return int(rows[0][0])


def _get(run: Transaction, job_id: str) -> Job:
    rows = run.run(f"SELECT {_COLUMNS} FROM stpe_jobs WHERE id = ?", (job_id,))
    if not rows:
        raise NotFoundError("there is no such job; jobs that ended are kept for some days")
    identity, operation, status, output, *rest = rows[0]
    return Job(identity, operation, status, None if output is None else json.loads(output), *rest)


def _tell(run: Transaction, job_id: str) -> None:
    """Note a job's present state as its next event."""
    version, status, progress, stage, error = run.run(
        "SELECT version, status, progress, stage, error FROM stpe_jobs WHERE id = ?", (job_id,)
    )[0]
    event = {"id": job_id, "status": status, "progress": progress, "stage": stage}
    if error is not None:
        event["error"] = error
    run.run(
        "INSERT INTO stpe_job_events (job_id, number, data) VALUES (?, ?, ?)",
        (job_id, version, strict_json.dumps(event)),
    )
