"""A CUDA stream a network: kernels of one run beside those of another, where one leaves room.

What a stream does is done before its turn ends. So what a turn made can be read on any other
stream, and a network's weights can be moved, without more events.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stpe.models.torch_runtime.torch_module import import_torch


def stream_on(device: str) -> Any:
    """A new stream of a GPU; None for a CPU."""
    return import_torch().cuda.Stream(device) if device.startswith("cuda") else None


@contextmanager
def working_on(stream: Any) -> Iterator[None]:
    """Kernels started inside go to the stream, and are done at the end."""
    if stream is None:
        yield
        return
    with import_torch().cuda.stream(stream):
        try:
            yield
        finally:
            stream.synchronize()
