"""Parts of a float32 network that run in bfloat16: fast where its eight bits are enough.

A vision backbone keeps its accuracy in bfloat16. What tells places does not: between 0.5 and 1 its
steps are 1/256, which is 4 pixels of a picture 1000 pixels wide.
"""

from __future__ import annotations

import functools
from typing import Any

from stpe.models.torch_runtime.torch_module import import_torch


def run_in_bfloat16(module: Any, device: str) -> None:
    """From now on the module's forward runs under autocast in bfloat16 on the device; its weights
    stay as they are, and tensors in its answer are float32."""
    torch = import_torch()
    forward, kind = module.forward, device.partition(":")[0]

    def finer(value: Any) -> Any:
        coarse = isinstance(value, torch.Tensor) and value.dtype == torch.bfloat16
        return value.float() if coarse else value

    @functools.wraps(forward)
    def under_autocast(*args: Any, **named: Any) -> Any:
        with torch.autocast(kind, torch.bfloat16):
            answer = forward(*args, **named)
        return torch.utils._pytree.tree_map(finer, answer)

    module.forward = under_autocast
