"""What this machine's processor has."""

from __future__ import annotations

import functools
import os


def core_count() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def native_bf16() -> bool:
    """Whether it multiplies bfloat16 in hardware."""
    import openvino as ov

    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
