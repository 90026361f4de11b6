"""Who is on a device, and whose turn it is: work runs side by side as long as it fits.

Every model announces itself before it loads, and asks for a turn with the bytes it will need. A
turn begins when they are free; models that lie idle are moved out for it, the one unused longest
first. Turns are given in the order in which they were asked for.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from stpe.errors import OutOfMemoryError
from stpe.models.memory.device import Device, Peak, device

log = logging.getLogger(__name__)

#: Share of the free memory that is left alone: allocators round up, and others work here too.
HEADROOM = 0.08


@dataclass(frozen=True)
class ModelMemory:
    """What one model takes.

    Attributes:
        name: of the model.
        weights_bytes: of its weights, and whether they are on the device now (`resident`).
        batches: item to the batch size in use.
        peaks: item to batch size to bytes beyond the weights, measured.
        loading_s: seconds from the files to the device.
        warm_up_s: seconds of the first call of each item and batch together, compilation included.
    """

    name: str
    weights_bytes: int
    resident: bool
    batches: Mapping[str, int]
    peaks: Mapping[str, Mapping[int, int]]
    loading_s: float
    warm_up_s: float


@dataclass(frozen=True)
class DeviceMemoryStats:
    """One device and the models on it."""

    place: str
    name: str
    total_bytes: int
    free_bytes: int
    models: tuple[ModelMemory, ...]


class Tenant(Protocol):
    """A model, as the planner sees it."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    @property
    def weights_bytes(self) -> int:
        """Bytes on the device when it is in."""
        ...

    @property
    def movable(self) -> bool:
        """Whether it may be moved out while it is idle."""
        ...

    def move_in(self) -> None:
        """Bring the weights back to the device."""
        ...

    def move_out(self) -> None:
        """Take the weights off the device."""
        ...

    def memory(self, resident: bool) -> ModelMemory:
        """What it takes."""
        ...

    def close(self) -> None:
        """Free the weights, and leave."""
        ...


class DeviceMemory:
    """The planner of one device.

    Args:
        device: whose memory.
        limit: bytes that this process may take of it; None for all that is free.
    """

    def __init__(self, device: Device, limit: int | None = None) -> None:
        self.device = device
        self._limit = limit
        self._changed = threading.Condition(threading.RLock())
        self._in: dict[Tenant, int] = {}  # resident tenants and when each was last used
        self._out: set[Tenant] = set()
        self._turns: dict[int, tuple[Tenant, int]] = {}
        self._line: list[int] = []
        self._ticket = itertools.count()
        self._alone = False
        self._pinned: set[Tenant] = set()
        self._mine = threading.local()

    @contextmanager
    def loading(self, tenant: Tenant, need: int) -> Iterator[None]:
        """Make room for weights while they are loaded, and count the tenant in afterwards.

        It waits for a turn that is measured, and for turns that hold the memory it needs, unless
        this thread has one itself.

        Raises:
            OutOfMemoryError: they do not fit, whoever is moved out.
        """
        inside = self._has_turn()
        ticket = next(self._ticket)
        with self._changed:
            self._line.append(ticket)
            try:
                while not self._may_load(tenant, need, inside):
                    self._changed.wait()
                self._turns[ticket] = tenant, need
            finally:
                self._line.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                del self._turns[ticket]
                self._changed.notify_all()
        with self._changed:
            self._in[tenant] = ticket
        counted: list[Tenant] | None = getattr(_counted, "tenants", None)
        if counted is not None:
            counted.append(tenant)

    @contextmanager
    def pinned(self, tenant: Tenant) -> Iterator[None]:
        """The tenant stays on the device, although it has no turn; it is brought in if it is not
        there."""
        with self._changed:
            self._bring_in(tenant)
            self._in[tenant] = next(self._ticket)
            self._pinned.add(tenant)
        try:
            yield
        finally:
            with self._changed:
                self._pinned.discard(tenant)
                self._changed.notify_all()

    def leave(self, tenant: Tenant) -> None:
        """The tenant was closed."""
        with self._changed:
            self._in.pop(tenant, None)
            self._out.discard(tenant)
            self._changed.notify_all()
        self.device.empty()

    def total(self) -> int:
        """Bytes that this process may use of the device."""
        whole = self.device.total()
        return whole if self._limit is None else min(whole, self._limit)

    def room(self, besides: Tenant | None = None) -> int:
        """Bytes free now, less some headroom and what turns have a claim on; for `besides`, as if
        nobody else had a turn and its own weights were in."""
        with self._changed:
            if besides is None:
                claimed = sum(need for _, need in self._turns.values())
            else:
                claimed = besides.weights_bytes if besides in self._out else 0
            return max(0, self._free() - claimed)

    def _free(self) -> int:
        free = self.device.free()
        if self._limit is not None:
            free = min(free, self._limit - sum(t.weights_bytes for t in self._in))
        return int((1 - HEADROOM) * free)

    @contextmanager
    def turn(self, tenant: Tenant, need: int, measure: bool = False) -> Iterator[Peak | None]:
        """Work for which the tenant needs its weights and `need` bytes beside them.

        With `measure` nobody else works meanwhile and the peak is told. A turn inside another of
        the same thread begins at once and is not measured. Where even an otherwise empty device
        has less than `need`, the turn begins all the same: the allocator decides.
        """
        nested = self._has_turn()
        ticket = next(self._ticket)
        with self._changed:
            self._line.append(ticket)
            try:
                while not nested and not self._may_begin(ticket, tenant, need, measure):
                    self._changed.wait()
                self._bring_in(tenant)
                self._turns[ticket] = tenant, need
                self._alone = self._alone or (measure and not nested)
                self._in[tenant] = ticket
            finally:
                self._line.remove(ticket)
                self._changed.notify_all()
        self._mine.depth = getattr(self._mine, "depth", 0) + 1
        try:
            if measure and not nested:
                with self.device.watch() as peak:
                    yield peak
            else:
                yield None
        finally:
            self._mine.depth -= 1
            with self._changed:
                del self._turns[ticket]
                if measure and not nested:
                    self._alone = False
                self._changed.notify_all()

    def make_room(self, tenant: Tenant) -> str | None:
        """Memory ran out for the tenant: move an idle one out. Its name; None if there is none."""
        with self._changed:
            return self._move_one_out(tenant)

    def stats(self) -> DeviceMemoryStats:
        """What lies where."""
        with self._changed:
            models = [t.memory(True) for t in self._in] + [t.memory(False) for t in self._out]
            return DeviceMemoryStats(
                self.device.place,
                self.device.name,
                self.total(),
                self.device.free(),
                tuple(sorted(models, key=lambda m: m.name)),
            )

    def _has_turn(self) -> bool:
        """Whether this thread has one."""
        return getattr(self._mine, "depth", 0) > 0

    def _may_load(self, tenant: Tenant, need: int, inside: bool) -> bool:
        if self._alone and not inside:
            return False
        while need > self.room():
            if not self._move_one_out(tenant):
                if self._turns and not inside:
                    return False
                raise OutOfMemoryError(
                    f"{tenant.name}: its weights need {told(need)} and {told(self.room())} of "
                    f"{told(self.total())} are free on {self.device.place}; use a smaller "
                    "profile, or another model for its role"
                )
        return True

    def _may_begin(self, ticket: int, tenant: Tenant, need: int, alone: bool) -> bool:
        if self._line[0] != ticket or self._alone or (alone and self._turns):
            return False
        whole = need + (tenant.weights_bytes if tenant in self._out else 0)
        while whole > self.room():
            if self._turns and whole <= self._free():
                return False  # turns that will end have a claim on it: nobody need be moved out
            if not self._move_one_out(tenant):
                return not self._turns
        return True

    def _bring_in(self, tenant: Tenant) -> None:
        if tenant in self._out:
            tenant.move_in()
            self._out.discard(tenant)

    def _move_one_out(self, besides: Tenant) -> str | None:
        busy = {tenant for tenant, _ in self._turns.values()} | self._pinned | {besides}
        idle = [t for t in self._in if t not in busy and t.movable]
        if not idle:
            return None
        oldest = min(idle, key=lambda t: self._in[t])
        oldest.move_out()
        del self._in[oldest]
        self._out.add(oldest)
        self.device.empty()
        log.info("%s: moved off %s for %s", oldest.name, self.device.place, besides.name)
        return oldest.name


_counted = threading.local()


@contextmanager
def whole_or_closed() -> Iterator[None]:
    """Where the block raises, the tenants that this thread counted in meanwhile are closed: nobody
    has what was being made of them."""
    before = getattr(_counted, "tenants", None)
    tenants: list[Tenant] = []
    _counted.tenants = tenants
    try:
        yield
    except BaseException:
        for tenant in tenants:
            tenant.close()
        raise
    finally:
        _counted.tenants = before


_planners: dict[str, DeviceMemory] = {}
_planners_lock = threading.Lock()


def memory_of(place: str) -> DeviceMemory:
    """This process's planner of the device that torch calls `place`."""
    found = device(place)
    with _planners_lock:
        return _planners.setdefault(found.place, DeviceMemory(found))


def memory_stats() -> list[DeviceMemoryStats]:
    """Every device that a model of this process was loaded on."""
    with _planners_lock:
        planners = list(_planners.values())
    return [planner.stats() for planner in planners]


def told(size: int) -> str:
    """Bytes for people."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size} bytes"
