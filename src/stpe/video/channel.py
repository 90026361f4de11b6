"""A queue between two threads, bounded by bytes, that either side can end."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class ChannelClosedError(Exception):
    """The consumer has gone; the producer should stop."""


class Channel(Generic[T]):
    """One producer puts, one consumer iterates. An item larger than the bound passes alone."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._items: deque[tuple[T, int]] = deque()
        self._bytes = 0
        self._finished = False
        self._closed = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, item: T, size: int) -> None:
        """Wait for room and add an item. Raises ChannelClosedError once the consumer closed."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or not self._items or self._bytes + size <= self._max_bytes
            )
            if self._closed:
                raise ChannelClosedError
            self._items.append((item, size))
            self._bytes += size
            self._changed.notify_all()

    def finish(self, error: BaseException | None = None) -> None:
        """Nothing more will come; the consumer raises `error` after the items that are there."""
        with self._changed:
            self._finished = True
            self._error = error
            self._changed.notify_all()

    def close(self) -> None:
        """The consumer wants no more: wake the producer so that it stops."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._items) or self._finished)
                if not self._items:
                    if self._error is not None:
                        raise self._error
                    return
                item, size = self._items.popleft()
                self._bytes -= size
                self._changed.notify_all()
            yield item
