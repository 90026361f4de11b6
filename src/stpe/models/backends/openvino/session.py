"""Running one graph on the CPU: one stream a core, callable from any thread.

The executor keeps as many worker threads as cores, each calling a model synchronously. With one
single-threaded stream a core the cores stay busy without oversubscription, and every inference
has a fixed summation order, so results repeat exactly.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from stpe.errors import ModelError
from stpe.models.processor import core_count, native_bf16

Precision = Literal["f32", "bf16"]

#: Input shapes a graph stays compiled for; the one unused longest makes room. Each takes memory,
#: and a server is shown images of any shape.
SHAPES_KEPT = 16

# The binding fills its table of types when it first looks one up. Two threads in that at once wait
# for each other for ever, one for the table with Python's lock in hand, the other the reverse; so
# it is looked up once here, where an import keeps other threads out.
ov.Type.f32.to_dtype()


class Session:
    """A graph compiled for fixed input shapes, on demand, each shape once.

    Args:
        model: an OpenVINO model, or a path OpenVINO reads (ONNX, IR, tflite, TensorFlow).
        precision: "bf16" runs matrix products in bfloat16 where the CPU has it in hardware;
            "f32" never does. None takes bf16 where it is native.
        streams: parallel inferences; default one a core.

    Raises:
        ModelError: the file cannot be read as a graph.
    """

    def __init__(
        self,
        model: ov.Model | str | Path,
        *,
        precision: Precision | None = None,
        streams: int | None = None,
        name: str = "model",
    ) -> None:
        self._core = ov.Core()
        try:
            self._model = (
                model if isinstance(model, ov.Model) else self._core.read_model(str(model))
            )
        except RuntimeError as error:
            raise ModelError(f"{name}: the graph cannot be read: {error}") from error
        bf16 = native_bf16() if precision is None else precision == "bf16" and native_bf16()
        self.precision: Precision = "bf16" if bf16 else "f32"
        self.name = name
        self._streams = streams or core_count()
        self._lock = threading.Lock()
        self._pools: dict[tuple[Any, ...], queue.LifoQueue[ov.InferRequest]] = {}
        self._used: dict[tuple[Any, ...], int] = {}
        self._turn = itertools.count()

    def run(
        self, inputs: Mapping[str, NDArray[Any]] | Sequence[NDArray[Any]]
    ) -> list[NDArray[Any]]:
        """Outputs in the graph's order, for inputs by name or in the graph's order.

        The first call with new shapes compiles for them. Thread-safe.
        """
        if isinstance(inputs, Mapping):
            named = inputs
        else:
            named = {p.any_name: a for p, a in zip(self._model.inputs, inputs, strict=True)}
        shapes = tuple((name, tuple(a.shape)) for name, a in sorted(named.items()))
        self._used[shapes] = next(self._turn)
        pool = self._pools.get(shapes)
        if pool is None:
            with self._lock:
                pool = self._pools.get(shapes)
                if pool is None:
                    pool = self._compile(shapes)
                    # The runtime finishes its graph in the first inference. Two threads in that
                    # at once wait for each other for ever, one for the graph with Python's lock
                    # in hand, the other the reverse; so the first inference runs alone.
                    outputs = self._infer(pool, named)
                    self._pools[shapes] = pool
                    self._forget()
                    return outputs
        return self._infer(pool, named)

    def _infer(
        self, pool: queue.LifoQueue[ov.InferRequest], named: Mapping[str, NDArray[Any]]
    ) -> list[NDArray[Any]]:
        request = pool.get()
        try:
            request.infer(dict(named), share_inputs=True)
            return [
                np.array(request.get_output_tensor(i).data) for i in range(len(self._model.outputs))
            ]
        finally:
            pool.put(request)

    def _forget(self) -> None:
        """Drop what was used longest ago; an inference under way keeps its graph until it ends."""
        while len(self._pools) > SHAPES_KEPT:
            oldest = min(self._pools, key=lambda shapes: self._used[shapes])
            del self._pools[oldest]
            self._used.pop(oldest, None)

    def _compile(self, shapes: tuple[Any, ...]) -> queue.LifoQueue[ov.InferRequest]:
        model = self._model.clone()
        model.reshape({name: ov.PartialShape(list(shape)) for name, shape in shapes})
        compiled = self._core.compile_model(
            model,
            "CPU",
            {
                "NUM_STREAMS": str(self._streams),
                "INFERENCE_NUM_THREADS": str(self._streams),
                "INFERENCE_PRECISION_HINT": self.precision,
            },
        )
        pool: queue.LifoQueue[ov.InferRequest] = queue.LifoQueue()
        for _ in range(self._streams):
            pool.put(compiled.create_infer_request())
        return pool

    def close(self) -> None:
        """Free compiled graphs."""
        with self._lock:
            self._pools.clear()
