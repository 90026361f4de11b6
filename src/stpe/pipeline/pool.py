"""Worker threads fed from one priority queue, and one more thread for disk writes.

Nothing polls: a thread sleeps until there is work, and the caller's thread until its condition
holds, a task failed, or the user pressed Ctrl-C (which Python delivers to the main thread even
while it waits for a lock).
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

Task = Callable[[], None]

#: How long a run stopped by Ctrl-C waits for tasks that are inside a model call.
_PATIENCE_S = 2.0


class Pool:
    """Runs tasks, lowest priority tuple first. The first exception stops everything.

    Use as a context manager; leaving it drops what has not begun, finishes queued writes (they
    are what a resumed run builds on) and waits for what is inside a model call.
    `changed` is the one lock; hold it to touch state shared between tasks.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        lock = threading.RLock()
        self.changed = threading.Condition(lock)
        self._tasks: list[tuple[tuple[int, ...], int, Task]] = []
        self._writes: list[tuple[tuple[int, ...], int, Task]] = []
        self._has_task = threading.Condition(lock)
        self._has_write = threading.Condition(lock)
        self._order = itertools.count()
        self._error: BaseException | None = None
        self._closed = False
        queues = [(self._tasks, self._has_task)] * workers + [(self._writes, self._has_write)]
        self._threads = [
            threading.Thread(target=self._work, args=queue, name=f"stpe-{i}", daemon=True)
            for i, queue in enumerate(queues)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, priority: tuple[int, ...], task: Task) -> None:
        """Queue a task for the workers; a pool that stops takes none, whoever is still at work."""
        with self.changed:
            if self._closed or self._error is not None:
                return
            heapq.heappush(self._tasks, (priority, next(self._order), task))
            self._has_task.notify()

    def write(self, task: Task) -> None:
        """Queue a task for the writing thread, first come first served."""
        with self.changed:
            heapq.heappush(self._writes, ((), next(self._order), task))
            self._has_write.notify()

    def wait(self, until: Callable[[], bool]) -> None:
        """Sleep until the condition holds; raises what a task raised."""
        with self.changed:
            while self._error is None and not until():
                self.changed.wait()
            if self._error is not None:
                raise self._error

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self.changed:
            self._closed = True
            self._tasks.clear()
            self._has_task.notify_all()
            self._has_write.notify_all()
        deadline = time.monotonic() + _PATIENCE_S
        for thread in self._threads:
            hurried = kind is not None and issubclass(kind, KeyboardInterrupt)
            thread.join(max(0.0, deadline - time.monotonic()) if hurried else None)

    def _work(self, tasks: list[tuple[Any, int, Task]], available: threading.Condition) -> None:
        while True:
            with self.changed:
                while not tasks and not self._closed:
                    available.wait()
                if not tasks:
                    return
                task = heapq.heappop(tasks)[2]
            try:
                task()
            except BaseException as error:
                with self.changed:
                    self._error = self._error or error
                    self._tasks.clear()
                    self.changed.notify_all()
            del task
