"""Tells coroutines that some job changed."""

from __future__ import annotations

import asyncio
import contextlib


class Signal:
    """Made inside the event loop; `fire` may be called from any thread.

    Take `next()` before looking, then wait for it, so that no change falls between.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def fire(self) -> None:
        """Something changed."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._turn)

    def _turn(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    def next(self) -> asyncio.Event:
        """Set by the next change."""
        return self._event

    @staticmethod
    async def within(event: asyncio.Event, seconds: float) -> None:
        """Wait for a change, or so long."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), seconds)
