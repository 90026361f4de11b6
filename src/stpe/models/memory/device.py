"""A device's memory as torch sees it: how much there is, and how much a piece of work takes."""

from __future__ import annotations

import gc
import platform
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from stpe.allocator import released

_MEMINFO = Path("/proc/meminfo")
_CPUINFO = Path("/proc/cpuinfo")
_CGROUP = Path("/sys/fs/cgroup")


class Peak:
    """The most bytes that were allocated inside a block, beyond those before it. Known when the
    block has ended, also by an exception."""

    bytes = 0


class Device(Protocol):
    """Memory that models share.

    Attributes:
        place: as torch names it, "cpu" or "cuda:0".
        name: of the hardware; what was measured on one device holds for others of its name.
    """

    place: str
    name: str

    def total(self) -> int:
        """Bytes that there are."""
        ...

    def free(self) -> int:
        """Bytes that this process could still allocate."""
        ...

    def watch(self) -> AbstractContextManager[Peak]:
        """Measure a block. Only one block a device may be watched at a time."""
        ...

    def empty(self) -> None:
        """Give back to the system what is cached and not in use."""
        ...


class Cpu:
    """The machine's memory, or what its control group leaves of it."""

    place = "cpu"

    def __init__(self) -> None:
        self.name = _cpu_name()

    def total(self) -> int:
        """The machine's memory or the group's limit."""
        limit = _group("memory.max")
        whole = _meminfo("MemTotal")
        return whole if limit is None else min(whole, limit)

    def free(self) -> int:
        """What can be had without swapping."""
        there = _meminfo("MemAvailable")
        limit, used = _group("memory.max"), _group("memory.current")
        return there if limit is None or used is None else max(0, min(there, limit - used))

    @contextmanager
    def watch(self) -> Iterator[Peak]:
        """Counts what torch's CPU allocator hands to this thread."""
        import torch

        peak = Peak()
        profile = torch.autograd.profiler.profile(profile_memory=True)
        try:
            with profile:
                yield peak
        finally:
            live = 0
            events = getattr(profile, "kineto_results", None)
            for event in [] if events is None else events.events():
                if event.name() == "[memory]":
                    live += event.nbytes()
                    peak.bytes = max(peak.bytes, live)

    def empty(self) -> None:
        """Collect cycles and trim the C library's heap."""
        gc.collect()
        released()


class Cuda:
    """One CUDA device."""

    def __init__(self, place: str) -> None:
        import torch

        self._torch: Any = torch
        self.place = place
        self.name = torch.cuda.get_device_name(place)

    def total(self) -> int:
        """The device's memory."""
        return int(self._torch.cuda.get_device_properties(self.place).total_memory)

    def free(self) -> int:
        """The driver's free memory, and what torch holds in reserve."""
        cuda = self._torch.cuda
        idle = cuda.memory_reserved(self.place) - cuda.memory_allocated(self.place)
        return int(cuda.mem_get_info(self.place)[0] + idle)

    @contextmanager
    def watch(self) -> Iterator[Peak]:
        """Counts what torch's CUDA allocator hands out."""
        cuda = self._torch.cuda
        peak = Peak()
        cuda.synchronize(self.place)
        cuda.reset_peak_memory_stats(self.place)
        before = cuda.memory_allocated(self.place)
        try:
            yield peak
        finally:
            peak.bytes = max(0, int(cuda.max_memory_allocated(self.place) - before))

    def empty(self) -> None:
        """Return torch's reserve to the driver."""
        gc.collect()
        self._torch.cuda.empty_cache()


#: How torch's CPU allocator says it, oneDNN where its own allocations fail, and CUDA and its
#: libraries where theirs do, outside torch's allocator.
_RAN_OUT = (
    "can't allocate memory",
    "could not create a primitive",
    "could not create a memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


@cache
def device(place: str) -> Device:
    """The device that torch calls `place`."""
    if place.startswith("cuda"):
        return Cuda(place if ":" in place else f"{place}:0")
    return Cpu()


def ran_out(error: BaseException) -> bool:
    """Whether an exception says that memory ran out."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _RAN_OUT)


def asked_for(error: BaseException) -> int:
    """Bytes of the allocation that failed, as far as torch's message says so; else 0."""
    found = re.search(r"[Tt]ried to allocate ([\d.]+) ?(bytes|[KMG]iB)?", str(error))
    if found is None:
        return 0
    scale = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}.get(found[2] or "bytes", 1)
    return int(float(found[1].rstrip(".")) * scale)


def _meminfo(field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", _MEMINFO.read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) << 10


def _group(file: str) -> int | None:
    try:
        return int((_CGROUP / file).read_text())
    except (OSError, ValueError):  # no such group, or "max"
        return None


def _cpu_name() -> str:
    try:
        found = re.search(r"^model name\s*: (.+)$", _CPUINFO.read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.machine()
