"""How much work may be under way: a count of requests and an estimate of their bytes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from stpe.serve.failures import BusyError, TooLargeError, TooManyRequestsError


class Admission:
    """A budget that work is admitted against before it takes memory. Safe from any thread.

    Args:
        max_pending: requests that may be waiting or under way.
        memory_bytes: bytes that they may hold together, by their own estimates.
    """

    def __init__(self, max_pending: int, memory_bytes: int) -> None:
        self.max_pending = max_pending
        self.memory_bytes = memory_bytes
        self.pending = 0
        self.held_bytes = 0
        self._lock = threading.Lock()

    def check(self, size: int) -> None:
        """Whether there is room for a request of `size` bytes now. Raises as `request` and
        `memory`, and holds nothing."""
        with self._lock:
            self._room(size)
            self._place()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Room for one request in the queue. Raises TooManyRequestsError."""
        with self._lock:
            self._place()
            self.pending += 1
        try:
            yield
        finally:
            with self._lock:
                self.pending -= 1

    @contextmanager
    def memory(self, size: int) -> Iterator[Reservation]:
        """Room for `size` bytes. Raises BusyError while others hold it, and TooLargeError where
        it is more than there is."""
        reservation = Reservation(self)
        try:
            reservation.grow(size)
            yield reservation
        finally:
            reservation.release()

    def _take(self, size: int, held: int) -> None:
        with self._lock:
            self._room(size, held)
            self.held_bytes += size

    def _place(self) -> None:
        if self.pending >= self.max_pending:
            raise TooManyRequestsError(
                f"{self.pending} requests are waiting, which is all that may; try again"
            )

    def _room(self, size: int, held: int = 0) -> None:
        if held + size > self.memory_bytes:
            raise TooLargeError(
                f"the request would need about {held + size >> 20} MiB and the server has "
                f"{self.memory_bytes >> 20} MiB for all; send less at a time"
            )
        if self.held_bytes + size > self.memory_bytes:
            raise BusyError("the memory for requests is taken; try again shortly", 2.0)

    def _give(self, size: int) -> None:
        with self._lock:
            self.held_bytes -= size


class Reservation:
    """Bytes held by one piece of work until `release`."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.size = 0

    def grow(self, size: int) -> None:
        """Hold `size` bytes more. Raises as `Admission.memory`."""
        self._admission._take(size, self.size)
        self.size += size

    def release(self) -> None:
        """Give all back."""
        size, self.size = self.size, 0
        self._admission._give(size)
