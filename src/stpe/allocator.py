"""The process's memory: how much it is, and keeping it small however long the video is.

The C library keeps freed blocks for each thread that asked for them; frames that one thread makes
and others free then pile up as holes, a few hundred megabytes an hour. Two shared arenas, and
blocks of a frame's size going straight back to the system, keep it flat.
"""

from __future__ import annotations

import ctypes
import resource
import sys
from functools import cache
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # malloc.h
_BLOCK_BYTES = 256 * 1024


@cache
def steady() -> None:
    """Set the allocator up, once a process; nothing where the C library is not GNU's."""
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_ARENA_MAX, 2)
        mallopt(_MMAP_THRESHOLD, _BLOCK_BYTES)
        mallopt(_TRIM_THRESHOLD, _BLOCK_BYTES)


def released() -> None:
    """Give what was freed back to the system now; nothing where the C library is not GNU's."""
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def resident_bytes() -> int:
    """Resident memory of this process."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * resource.getpagesize()
    except OSError:  # not Linux: the largest it has been
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
