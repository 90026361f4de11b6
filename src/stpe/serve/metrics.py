"""What the server counts, in the form that Prometheus reads."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

from stpe.allocator import resident_bytes
from stpe.serve import tracing

#: Variable that names the folder in which `prometheus_client` sums what several processes count.
SUMMED = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)

log = logging.getLogger(__name__)


class Metrics:
    """One registry a process; where several serve one port, each answers for all. Safe from any
    thread.

    Counters and histograms of several processes are summed in files (`prometheus_client`'s
    multiprocess mode). A gauge is what its process last wrote there, now and then and whenever it
    is asked itself.

    Attributes:
        requests: answers, by method, route and status.
        request_seconds: by route.
        task_seconds: by task and stage (`decode`, `infer`, `total`, ...).
        batch_sizes: images a model call, by role.
        gauge: registers a figure that is read when asked for.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        folder = os.environ.get(SUMMED)
        self.summed = None if folder is None else Path(folder)
        self._gauges: list[tuple[Gauge, Callable[[], float]]] = []
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

    def gauge(self, name: str, text: str, read: Callable[[], float], shared: bool = False) -> None:
        """Report what `read` returns whenever metrics are read, from any thread; NaN where it
        fails, so that the other figures are still told. Of several processes the sum is told, or
        where the figure is `shared` by all, the latest."""

        def figure() -> float:
            try:
                return read()
            except Exception as error:
                log.warning("%s cannot be read: %s", name, error)
                return math.nan

        if self.summed is None:
            Gauge(name, text, registry=self.registry).set_function(figure)
            return
        mode: Any = "livemostrecent" if shared else "livesum"
        gauge = Gauge(name, text, registry=self.registry, multiprocess_mode=mode)
        self._gauges.append((gauge, figure))

    def refresh(self) -> None:
        """Write this process's gauges to where the others read them."""
        for gauge, figure in self._gauges:
            gauge.set(figure())

    @contextmanager
    def stage(self, task: str, stage: str) -> Iterator[None]:
        """Time a piece of a task."""
        begun = time.perf_counter()
        try:
            with tracing.span(f"{task} {stage}"):
                yield
        finally:
            self.task_seconds.labels(task, stage).observe(time.perf_counter() - begun)

    def batch(self, key: Hashable, size: int) -> None:
        """Count a batch; the first part of its key is the role."""
        role = key[0] if isinstance(key, tuple) else key
        self.batch_sizes.labels(str(role)).observe(size)

    def text(self) -> bytes:
        """Everything in Prometheus' text format 0.0.4."""
        if self.summed is None:
            return generate_latest(self.registry)
        self.refresh()
        for path in self.summed.glob("gauge_live*.db"):
            process = int(path.stem.rpartition("_")[2])
            if not _lives(process):
                multiprocess.mark_process_dead(process)  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
