"""Naming the devices that torch models may use."""

from __future__ import annotations

import importlib.util
import os

from stpe.errors import MissingExtraError, UsageError


def visible(device: str) -> str:
    """What CUDA_VISIBLE_DEVICES must be for a process to see that device only. Numbers count the
    devices that this process sees. Raises UsageError."""
    if device == "cpu":
        return ""
    kind, _, number = device.partition(":")
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    among = None if given is None else [name.strip() for name in given.split(",") if name.strip()]
    if kind != "cuda" or not number.isdecimal():
        raise UsageError(f"no device is called {device!r}; write cpu or cuda:0, cuda:1, ...")
    if among is None:
        return number
    if int(number) >= len(among):
        raise UsageError(f"{device}: CUDA_VISIBLE_DEVICES={given} has {len(among)} devices")
    return among[int(number)]


def use_only(device: str) -> None:
    """Let this process and those it starts see one device: `cpu`, `cuda` (the first) or `cuda:n`.

    Before torch is first asked for a device. OpenVINO and ONNX Runtime models run on the CPU
    whatever is named.

    Raises:
        UsageError: no such device. MissingExtraError: a GPU is named and torch is not installed.
    """
    name = visible("cuda:0" if device == "cuda" else device)
    if name and importlib.util.find_spec("torch") is None:
        raise MissingExtraError(
            f"--device {device} needs torch, which is not installed: pip install 'stpe[flagship]'"
        )
    os.environ["CUDA_VISIBLE_DEVICES"] = name
    if name:
        import torch

        if not torch.cuda.is_available():
            raise UsageError(f"--device {device}: torch sees no such GPU on this machine")
