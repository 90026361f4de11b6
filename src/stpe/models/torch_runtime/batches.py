"""Batches for a device: calls from several threads put together, in sizes that fit its memory.

Stages look at one frame a call, and as many threads call as there are cores. Whoever gets the
network's turn takes along the items of the same kind that others are waiting with.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from stpe.errors import OutOfMemoryError
from stpe.models.memory.costs import Costs
from stpe.models.memory.device import asked_for, ran_out
from stpe.models.memory.planner import DeviceMemory, told
from stpe.models.notes import note
from stpe.models.torch_runtime.torch_module import import_torch

if TYPE_CHECKING:
    from stpe.models.torch_runtime.network import Network

Step = Callable[[Sequence[Any]], list[Any]]
#: Makes the next try need less: what it will do in words, or None where it cannot.
Smaller = Callable[[], str | None]

log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Job:
    """One item somebody waits with."""

    item: Any
    step: Step
    kind: str
    together: Hashable
    most: int
    smaller: Smaller | None
    result: Any = None
    error: BaseException | None = None
    done: bool = False


class Batches:
    """Runs items of a network through its steps.

    Args:
        network: whose turn is taken.
        memory: planner of its device.
        costs: what it is known to take.
        wanted: items a batch at most.
        rounded: fill batches up to powers of two, for what is compiled for fixed shapes.

    Attributes:
        sizes: kind of item to the batch size in use.
        warm_up_s: seconds of the first call of each kind and size, together.
    """

    def __init__(
        self, network: Network, memory: DeviceMemory, costs: Costs, wanted: int, rounded: bool
    ) -> None:
        self.sizes: dict[str, int] = {}
        self.warm_up_s = 0.0
        self._network = network
        self._memory = memory
        self._costs = costs
        self._wanted = wanted
        self._rounded = rounded
        self._most: dict[str, int] = {}  # after memory ran out
        self._warm: set[tuple[str, int]] = set()
        self._waiting: list[_Job] = []
        self._lock = threading.Lock()

    def run(
        self,
        items: Sequence[Any],
        step: Step,
        kind: str | None = None,
        most: int | None = None,
        smaller: Smaller | None = None,
    ) -> list[Any]:
        """`step` over the items, results in order. Items are put together that have one shape.

        Args:
            items: arrays, or with `kind` anything.
            step: must leave nothing half done where it raises: it is tried again.
            kind: what an item is; by default the step's name and the item's shape.
            most: items a batch, by default as many as the network's options say.
            smaller: for an item that can itself be worked on in smaller parts.

        Raises:
            OutOfMemoryError: one item alone does not fit.
        """
        jobs = []
        for item in items:
            named = kind or f"{_name(step)} {'x'.join(map(str, item.shape))}"
            same = (named, _same(step))
            jobs.append(_Job(item, step, named, same, most or self._wanted, smaller))
            if getattr(item, "ndim", 0) == 3 and self._network.device.startswith("cuda"):
                self._send(item)
        with self._lock:
            self._waiting += jobs
        for job in jobs:
            if not job.done:
                with self._network.lock:
                    if not job.done:
                        self._lead(job)
        for job in jobs:
            if job.error is not None:
                raise job.error
        return [job.result for job in jobs]

    def _send(self, image: Any) -> None:
        """Let an image travel while others are worked on. Where there is no memory for it the turn
        sends it again, which can make room."""
        try:
            self._network.uploads.get(image)
        except Exception as error:
            if not ran_out(error):
                raise

    def _lead(self, job: _Job) -> None:
        size = self._size(job.kind, job.most)
        with self._lock:
            others = [o for o in self._waiting if o.together == job.together and o is not job]
            batch = [job, *others[: size - 1]]
            self._waiting = [w for w in self._waiting if w not in batch]
        try:
            found = self._fitting([j.item for j in batch], job)
            for one, result in zip(batch, found, strict=True):
                one.result = result
        except BaseException as error:
            for one in batch:
                one.error = error
        for one in batch:
            one.done = True

    def _size(self, kind: str, wanted: int) -> int:
        """Items a batch may have: one until it is known what one takes."""
        most = min(wanted, self._most.get(kind, wanted))
        size = 1
        if most > 1 and self._costs.peak(kind) is not None:
            room = self._memory.room(self._network)
            while size < most and (self._costs.peak(kind, min(2 * size, most)) or 0) <= room:
                size = min(2 * size, most)
        self.sizes[kind] = size
        return size

    def _fitting(self, items: list[Any], job: _Job) -> list[Any]:
        """Results of items that may turn out to be too many for the memory."""
        results: list[Any] = []
        kind = job.kind
        while len(results) < len(items):
            most = min(self._most.get(kind, len(items)), len(items))
            part = items[len(results) : len(results) + most]
            found, missed = self._try(part, job.step, kind)
            if missed is None:
                results += found
                continue
            self._network.uploads.clear()
            self._memory.device.empty()
            place = self._memory.device.place
            what = kind if len(part) == 1 else f"{len(part)} x {kind}"
            failed = f"{self._network.name}: {what} did not fit into the memory of {place}"
            if (moved := self._memory.make_room(self._network)) is not None:
                note(f"{failed} beside {moved}, which was moved out")
                continue
            if len(part) == 1:
                less = job.smaller() if job.smaller is not None else None
                if less is not None:
                    note(f"{failed}; {less}")
                    continue
                raise OutOfMemoryError(
                    f"{self._network.name}: {kind} needs at least {told(missed)} beside the "
                    f"weights, and {told(self._memory.device.free())} of "
                    f"{told(self._memory.total())} are free on {place}; use a smaller profile "
                    "or --resolution"
                )
            self._most[kind] = len(part) // 2
            self.sizes[kind] = min(self.sizes.get(kind, len(part)), self._most[kind])
            note(f"{failed}; the batch was reduced to {self._most[kind]}")
        return results

    def _try(self, items: list[Any], step: Step, kind: str) -> tuple[list[Any], int | None]:
        """The results, or the bytes that the items would have needed at least."""
        count = len(items)
        if self._rounded:
            items = items + [items[-1]] * ((1 << (count - 1).bit_length()) - count)
        size = len(items)
        need = self._costs.peak(kind, size) or 0
        begun = time.perf_counter()
        peak = None
        try:
            fresh = not self._costs.measured(kind, size)
            with (
                self._memory.turn(self._network, need, measure=fresh) as peak,
                import_torch().inference_mode(),
                self._network.on_its_stream(),
            ):
                found = step(items)
        except Exception as error:
            if not ran_out(error):
                raise
            return [], max(need, (0 if peak is None else peak.bytes) + asked_for(error))
        if peak is not None:
            self._costs.note(kind, size, peak.bytes)
        if (kind, size) not in self._warm:
            self._warm.add((kind, size))
            self.warm_up_s += time.perf_counter() - begun
        return found[:count], None


def _name(step: Step) -> str:
    function = step.func if isinstance(step, partial) else step
    return str(getattr(function, "__name__", "call")).strip("_")


def _same(step: Step) -> Hashable:
    """Equal for steps that do the same."""
    if not isinstance(step, partial):
        return step
    same = (step.func, step.args, tuple(sorted(step.keywords.items())))
    try:
        hash(same)
    except TypeError:
        return id(step)
    return same
