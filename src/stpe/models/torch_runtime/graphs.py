"""CUDA graphs: a forward pass recorded once for each set of shapes, then replayed in one launch.

Small models are bound by the time it takes to launch their kernels; a replay has one launch. What
a replay returns is overwritten by the next one of the same shapes: read it before that, within
the same turn on the device.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

from stpe.models.torch_runtime.torch_module import import_torch

log = logging.getLogger(__name__)

#: Sets of shapes that keep their graph; each holds the memory of its activations.
KEPT = 8
#: Calls with the same shapes after which a graph is recorded.
RECURS = 2

_RECORDING = threading.Lock()  # CUDA records one graph at a time in a process


class Graphs:
    """A module's forward that replays. One thread at a time.

    What is not on a CUDA device, has other arguments than tensors and constants, or cannot be
    recorded (it waits for the device, or decides by values) runs as it is.
    """

    def __init__(self, forward: Callable[..., Any]) -> None:
        self._forward = forward
        self._seen: Counter[Any] = Counter()
        self._graphs: OrderedDict[Any, tuple[Any, list[Any], Any]] = OrderedDict()
        self._refused: set[Any] = set()

    def __call__(self, *args: Any, **named: Any) -> Any:
        """As the forward itself."""
        torch = import_torch()
        flat, shape_of = torch.utils._pytree.tree_flatten((args, named))
        tensors = [value for value in flat if isinstance(value, torch.Tensor)]
        rest = [value for value in flat if not isinstance(value, torch.Tensor)]
        plain = all(isinstance(v, (int, float, str, bool, type(None))) for v in rest)
        if not tensors or not plain or not all(t.is_cuda for t in tensors):
            return self._forward(*args, **named)
        key = (repr(shape_of), tuple((t.shape, t.dtype) for t in tensors), tuple(rest))
        self._seen[key] += 1
        if key in self._refused or self._seen[key] <= RECURS:
            return self._forward(*args, **named)
        if key not in self._graphs:
            try:
                with _RECORDING:
                    self._graphs[key] = self._record(flat, shape_of)
            except RuntimeError as error:
                log.warning("a forward pass cannot be recorded as a CUDA graph: %s", error)
                self._refused.add(key)
                return self._forward(*args, **named)
            while len(self._graphs) > KEPT:
                self._graphs.popitem(last=False)
        self._graphs.move_to_end(key)
        graph, inputs, answer = self._graphs[key]
        for held, given in zip(inputs, tensors, strict=True):
            held.copy_(given)
        graph.replay()
        return answer

    def _record(self, flat: list[Any], shape_of: Any) -> tuple[Any, list[Any], Any]:
        torch = import_torch()
        held = [v.clone() if isinstance(v, torch.Tensor) else v for v in flat]
        args, named = torch.utils._pytree.tree_unflatten(held, shape_of)
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # lazy initialisation must not fall into the recording
            self._forward(*args, **named)
        torch.cuda.current_stream().wait_stream(aside)
        graph, pool = torch.cuda.CUDAGraph(), torch.cuda.graph_pool_handle()
        before, device = torch.cuda.current_stream(), torch.cuda.current_device()
        try:
            with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                answer = self._forward(*args, **named)
        except BaseException:
            # Where the end of a recording fails, torch leaves its stream current and goes on
            # allocating for the graph.
            torch.cuda.set_stream(before)
            with contextlib.suppress(RuntimeError):  # it had ended
                torch._C._cuda_endAllocateToPool(device, pool)
            raise
        return graph, [v for v in held if isinstance(v, torch.Tensor)], answer
