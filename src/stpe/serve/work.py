"""Where blocking work runs: threads, as many as there are cores, never the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

from stpe.models.processor import core_count

T = TypeVar("T")


class Work:
    """Three pools: `short` for single images, `long` for whole videos, so that one kind never
    waits for the other, and `transfer` for files and downloads, which wait more than they work.

    Attributes:
        cores: cores this process may use; threads of `short`.
    """

    def __init__(self) -> None:
        self.cores = core_count()
        self._short = ThreadPoolExecutor(self.cores, "stpe-short")
        self._long = ThreadPoolExecutor(max(1, self.cores // 2), "stpe-long")
        self._transfer = ThreadPoolExecutor(8, "stpe-transfer")

    async def short(self, call: Callable[..., T], *arguments: Any) -> T:
        """Run what takes well under a second a core."""
        return await self._run(self._short, call, *arguments)

    async def long(self, call: Callable[..., T], *arguments: Any) -> T:
        """Run what takes seconds or minutes."""
        return await self._run(self._long, call, *arguments)

    async def transfer(self, call: Callable[..., T], *arguments: Any) -> T:
        """Run what mostly waits for a disk or a network."""
        return await self._run(self._transfer, call, *arguments)

    @staticmethod
    async def _run(pool: ThreadPoolExecutor, call: Callable[..., T], *arguments: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(pool, copy_context().run, call, *arguments)

    def close(self) -> None:
        """Take no more; what runs ends by itself."""
        for pool in (self._short, self._long, self._transfer):
            pool.shutdown(wait=False, cancel_futures=True)
