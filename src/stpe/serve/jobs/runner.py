"""Threads that take jobs from the store and run them."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from stpe.errors import StpeError
from stpe.serve import tracing
from stpe.serve.jobs.media import Worker
from stpe.serve.jobs.operations import OPERATIONS, perform
from stpe.serve.jobs.store import LEASE_S, Job, JobStore, Taken
from stpe.serve.jobs.watch import StoppedError, Watch

#: Threads for what takes a moment, which must not wait behind a film.
_MOMENT_THREADS = 2
#: How often the queue is looked at for jobs that another process put there.
_LOOK_S = 1.0
_UNFORESEEN = "the server failed on this job; its log says more"

log = logging.getLogger(__name__)


class Runner:
    """Runs the jobs of a store until it is closed.

    Args:
        store: the jobs.
        worker: what operations run on.
        changed: called from any thread when a job has changed.
        videos: threads for videos; how many of all processes run at a time is the store's to say.
        staging: folder for what videos that run beside each other make; None where one runs alone.
    """

    def __init__(
        self,
        store: JobStore,
        worker: Worker,
        changed: Callable[[], None],
        videos: int = 1,
        staging: Path | None = None,
    ) -> None:
        self.store = store
        self._worker = worker
        self._changed = changed
        self._staging = staging
        self._running: dict[str, threading.Event] = {}
        self._wake = threading.Condition()
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(target=self._serve, args=(lane,), name=f"stpe-jobs-{lane}")
            for lane, count in (("video", videos), ("moment", _MOMENT_THREADS))
            for _ in range(count)
        ]
        self._keeper = threading.Thread(target=self._keep, name="stpe-jobs-keeper")

    def start(self) -> None:
        """Begin."""
        for thread in (self._keeper, *self._threads):
            thread.start()

    @property
    def threads(self) -> int:
        """Jobs that this process can run at a time."""
        return len(self._threads)

    def submit(self, operation: str, data: Any, key: str | None, client: str | None = None) -> Job:
        """Queue a job; one of an operation that there is not will fail when it is run. Raises as
        `JobStore.submit`."""
        known = OPERATIONS.get(operation)
        lane = "video" if known is not None and known.video else "moment"
        job = self.store.submit(operation, lane, data, key, client)
        with self._wake:
            self._wake.notify_all()
        self._changed()
        return job

    def cancel(self, job_id: str) -> Job:
        """End a job; work on it stops with the model call it is in. Raises as `JobStore.cancel`."""
        job = self.store.cancel(job_id)
        if job.status == "CANCELLED":
            self._stop(job_id)
        self._changed()
        return job

    def purge(self, client: str | None) -> int:
        """Cancel the jobs that wait, of one client or all; how many there were."""
        removed = self.store.purge(client)
        self._changed()
        return removed

    def close(self) -> None:
        """Stop; jobs under way go back into the queue for the next process."""
        self._closing.set()
        for job_id in list(self._running):
            self._stop(job_id)
        with self._wake:
            self._wake.notify_all()
        for thread in (*self._threads, self._keeper):
            thread.join()

    def _stop(self, job_id: str) -> None:
        stopped = self._running.get(job_id)
        if stopped is not None:
            stopped.set()

    def _serve(self, lane: str) -> None:
        while not self._closing.is_set():
            try:
                taken = self.store.take(lane)
                if taken is not None:
                    self._run(taken)
                    continue
            except Exception:
                log.exception("the job database cannot be reached")
            with self._wake:
                if not self._closing.is_set():
                    self._wake.wait(_LOOK_S)

    def _run(self, taken: Taken) -> None:
        stopped = self._running[taken.id] = threading.Event()
        watch = Watch(partial(self._note, taken.id), stopped)
        self._changed()
        try:
            staging = None if self._staging is None else self._staging / taken.id
            worker = replace(self._worker, progress=watch, staging=staging)
            with tracing.span(f"job {taken.operation}", {"stpe.job_id": taken.id}):
                output = perform(taken.operation, taken.data, worker)
            self.store.complete(taken.id, output)
        except StoppedError:
            if self._closing.is_set():
                self.store.release(taken.id)
        except StpeError as error:
            log.info("job %s failed: %s", taken.id, error)
            self.store.fail(taken.id, str(error), error.http_status)
        except Exception:
            log.exception("job %s failed", taken.id)
            self.store.fail(taken.id, _UNFORESEEN, 500)
        finally:
            del self._running[taken.id]
            self.store.let_go(taken.id)
            self._changed()

    def _note(self, job_id: str, fraction: float, stage: str) -> bool:
        kept = self.store.advance(job_id, fraction, stage)
        self._changed()
        return kept

    def _sweep(self) -> None:
        """Remove what jobs that ended, or were lost, had made."""
        for folder in [] if self._staging is None else list(self._staging.glob("*")):
            if not self.store.works(folder.name):
                shutil.rmtree(folder, ignore_errors=True)

    def _keep(self) -> None:
        """Renew leases, and take back what dead processes held."""
        while True:
            try:
                for job_id in self.store.renew(list(self._running)):
                    self._stop(job_id)
                self.store.recover()
                self._sweep()
            except Exception:
                log.exception("the job database cannot be reached")
            if self._closing.wait(LEASE_S / 5):
                return
