"""Counting every inference of a run, and timing each kind alone afterwards."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino as ov

from stpe.models.backends.opencv.dis import Dis
from stpe.models.backends.openvino.session import Session
from stpe.models.processor import core_count

LEAST_S = 1.0  # each kind is repeated for at least this long
Shapes = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass
class Kind:
    """One model at one input shape: how often it ran, one of its inputs, and how to run it."""

    name: str
    shapes: Shapes
    inputs: Any
    runner: Any
    count: int = 0
    seconds: float = 0.0  # inside the calls, summed over threads


class Record:
    """Every model call between `with recording() as record`, by kind."""

    def __init__(self) -> None:
        self.kinds: dict[tuple[int, str, Shapes], Kind] = {}
        self._lock = threading.Lock()

    def note(self, runner: Any, name: str, shapes: Shapes, inputs: Any, seconds: float) -> None:
        key = id(runner), name, shapes
        with self._lock:
            if key not in self.kinds:
                self.kinds[key] = Kind(name, shapes, inputs, runner)
            self.kinds[key].count += 1
            self.kinds[key].seconds += seconds


@contextmanager
def recording() -> Iterator[Record]:
    """Record `Session.run` and the optical flow until the end of the block."""
    record = Record()
    run, flow = Session.run, Dis.flow

    def run_noted(self: Session, inputs: Any) -> Any:
        names = inputs if isinstance(inputs, dict) else dict(enumerate(inputs))
        shapes = tuple(sorted((str(n), tuple(a.shape)) for n, a in names.items()))
        begun = time.perf_counter()
        outputs = run(self, inputs)
        record.note(self, self.name, shapes, inputs, time.perf_counter() - begun)
        return outputs

    def flow_noted(self: Dis, image_a: Any, image_b: Any) -> Any:
        begun = time.perf_counter()
        found = flow(self, image_a, image_b)
        shapes = (("images", tuple(image_a.shape)),)
        record.note(self, "dis", shapes, (image_a, image_b), time.perf_counter() - begun)
        return found

    Session.run, Dis.flow = run_noted, flow_noted  # type: ignore[method-assign]
    try:
        yield record
    finally:
        Session.run, Dis.flow = run, flow  # type: ignore[method-assign]


def alone(kind: Kind) -> tuple[float, float]:
    """(wall, processor) seconds a call when this kind alone has every core, in the runtime's
    throughput mode."""
    if isinstance(kind.runner, Dis):
        return _threads(lambda: kind.runner.flow(*kind.inputs))
    session: Session = kind.runner
    names = kind.inputs
    if not isinstance(names, dict):
        names = {p.any_name: a for p, a in zip(session._model.inputs, names, strict=True)}
    model = session._model.clone()
    model.reshape({name: ov.PartialShape(list(a.shape)) for name, a in names.items()})
    compiled = ov.Core().compile_model(
        model,
        "CPU",
        {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": session.precision},
    )
    queue = ov.AsyncInferQueue(compiled)

    def burst(count: int) -> None:
        for _ in range(count):
            queue.start_async(names)
        queue.wait_all()

    burst(2 * len(queue))
    return _per_call(burst)


def _threads(call: Callable[[], Any]) -> tuple[float, float]:
    with ThreadPoolExecutor(core_count()) as pool:

        def burst(count: int) -> None:
            list(pool.map(lambda _: call(), range(count)))

        burst(2 * core_count())
        return _per_call(burst)


def _per_call(burst: Callable[[int], None]) -> tuple[float, float]:
    """Medians of three bursts, each long enough to be measured."""
    count = 4 * core_count()
    begun = time.perf_counter()
    burst(count)
    count = max(count, round(count * LEAST_S / 3 / max(time.perf_counter() - begun, 1e-6)))
    found = []
    for _ in range(3):
        wall, cpu = time.perf_counter(), time.process_time()
        burst(count)
        found.append(((time.perf_counter() - wall) / count, (time.process_time() - cpu) / count))
    wall_s, cpu_s = np.median(found, axis=0)
    return float(wall_s), float(cpu_s)
