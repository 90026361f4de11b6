"""The GPU of this process, where torch and one are there."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec


@dataclass(frozen=True)
class Accelerator:
    """The first CUDA device."""

    name: str

    def memory(self) -> dict[str, float]:
        """What the process holds of it, in GiB, and the share in percent."""
        import torch

        allocated, total = (
            torch.cuda.memory_allocated(0),
            torch.cuda.get_device_properties(0).total_memory,
        )
        return {
            "allocated_gb": allocated / 2**30,
            "reserved_gb": torch.cuda.memory_reserved(0) / 2**30,
            "max_allocated_gb": torch.cuda.max_memory_allocated(0) / 2**30,
            "total_gb": total / 2**30,
            "utilization_percent": 100 * allocated / total,
        }


def accelerator() -> Accelerator | None:
    """The GPU, or None without torch or without one."""
    if find_spec("torch") is None:
        return None
    import torch

    return Accelerator(torch.cuda.get_device_name(0)) if torch.cuda.is_available() else None
