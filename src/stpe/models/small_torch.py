"""torch for small networks: imported when needed, one thread, random numbers of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stpe.errors import MissingExtraError


def import_torch() -> Any:
    """The library. Raises MissingExtraError."""
    try:
        import torch
    except ImportError:
        raise MissingExtraError("torch is not installed: pip install 'stpe[train]'") from None
    return torch


@contextmanager
def alone(seed: int) -> Iterator[None]:
    """Random numbers from `seed`, the caller's untouched; one thread.

    Networks this small lose time to more threads, and sums in one order give one result.
    """
    torch = import_torch()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)
