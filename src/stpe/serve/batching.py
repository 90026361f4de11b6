"""Dynamic micro-batching: single images of concurrent requests meet in one call of the model."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from stpe.serve.work import Work

#: What is told of each batch: its key and its size.
Observer = Callable[[Hashable, int], None]


@dataclass
class _Lane:
    """Items that may share a call; `task` hands them out while there are any."""

    call: Callable[[list[Any]], Sequence[Any]]
    waiting: deque[tuple[Any, asyncio.Future[Any]]] = field(default_factory=deque)
    task: asyncio.Task[None] | None = None


class Batcher:
    """Collects items by key and runs each batch in a worker thread.

    As many batches run at once as there are cores. An item waits at most `wait_s` for company
    while a core is free, and as long as all are busy; what has gathered by then is shared out
    evenly among the free cores, `max_batch` items at most a call.
    """

    def __init__(self, work: Work, max_batch: int, wait_s: float, observe: Observer) -> None:
        self._work = work
        self._max_batch = max_batch
        self._wait_s = wait_s
        self._observe = observe
        self._lanes: dict[Hashable, _Lane] = {}
        self._free = asyncio.Semaphore(work.cores)
        self._running = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """Items not yet handed to a worker."""
        return sum(len(lane.waiting) for lane in list(self._lanes.values()))

    async def submit(
        self, key: Hashable, call: Callable[[list[Any]], Sequence[Any]], item: Any
    ) -> Any:
        """The result for `item` of `call(items)`, which answers one result an item, in order.

        Items of one key must be fit for one call: the key names everything else the call is bound
        to, such as model and threshold. Raises what the call raises.
        """
        lane = self._lanes.setdefault(key, _Lane(call))
        result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        lane.waiting.append((item, result))
        if lane.task is None:
            lane.task = asyncio.create_task(self._drain(key, lane))
        return await result

    async def _drain(self, key: Hashable, lane: _Lane) -> None:
        try:
            while lane.waiting:
                if len(lane.waiting) < self._max_batch:
                    await asyncio.sleep(self._wait_s)
                await self._free.acquire()
                free = self._work.cores - self._running
                size = min(self._max_batch, -(-len(lane.waiting) // max(1, free)))
                taken = [lane.waiting.popleft() for _ in range(size)]
                batch = [(item, result) for item, result in taken if not result.done()]
                if not batch:
                    self._free.release()
                    continue
                self._running += 1
                task = asyncio.create_task(self._run(key, lane.call, batch))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        finally:
            self._lanes.pop(key, None)

    async def _run(
        self,
        key: Hashable,
        call: Callable[[list[Any]], Sequence[Any]],
        batch: list[tuple[Any, asyncio.Future[Any]]],
    ) -> None:
        self._observe(key, len(batch))
        try:
            answers = await self._work.short(call, [item for item, _ in batch])
            for (_, result), answer in zip(batch, answers, strict=True):
                if not result.done():
                    result.set_result(answer)
        except Exception as error:
            for _, result in batch:
                if not result.done():
                    result.set_exception(error)
        finally:
            self._running -= 1
            self._free.release()
