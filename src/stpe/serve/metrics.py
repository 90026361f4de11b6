"""What the server counts, in the form that Prometheus reads."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from stpe.allocator import resident_bytes

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)

log = logging.getLogger(__name__)


class Metrics:
    """One registry a server. Safe from any thread.

    Attributes:
        requests: answers, by method, route and status.
        request_seconds: by route.
        task_seconds: by task and stage (`decode`, `infer`, `total`, ...).
        batch_sizes: images a model call, by role.
        gauge: registers a figure that is read when asked for.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "stpe_http_requests", "Answers", ["method", "route", "status"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "stpe_http_request_seconds", "Time to the end of the answer", ["route"],
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.task_seconds = Histogram(
            "stpe_task_seconds", "Time spent on a task, by stage", ["task", "stage"],
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.batch_sizes = Histogram(
            "stpe_batch_size", "Images a model call", ["role"],
            buckets=(1, 2, 3, 4, 6, 8, 12, 16, 32, 64), registry=self.registry,
        )  # fmt: skip
        self.gauge("stpe_memory_resident_bytes", "Resident memory of the process", resident_bytes)

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Report what `read` returns whenever metrics are read, from any thread; NaN where it
        fails, so that the other figures are still told."""

        def figure() -> float:
            try:
                return read()
            except Exception as error:
                log.warning("%s cannot be read: %s", name, error)
                return math.nan

        Gauge(name, text, registry=self.registry).set_function(figure)

    @contextmanager
    def stage(self, task: str, stage: str) -> Iterator[None]:
        """Time a piece of a task."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.task_seconds.labels(task, stage).observe(time.perf_counter() - begun)

    def batch(self, key: Hashable, size: int) -> None:
        """Count a batch; the first part of its key is the role."""
        role = key[0] if isinstance(key, tuple) else key
        self.batch_sizes.labels(str(role)).observe(size)

    def text(self) -> bytes:
        """Everything in Prometheus' text format 0.0.4."""
        return generate_latest(self.registry)
