"""RAFT (Teed and Deng 2020, arXiv 2003.12039) as torchvision trains and publishes it.

File: a state dict, as torchvision's `.pth` (read without running code from it) or as safetensors.
It runs in float32 unless told otherwise: bfloat16 limits its accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stpe.errors import MissingExtraError, ModelError, UsageError
from stpe.models.roles import F32
from stpe.models.torch_runtime.network import Network, import_torch
from stpe.video.frame import ImageHW3

if TYPE_CHECKING:
    import torch

_CELL = 8
_SMALLEST = 128  # the coarsest correlation level needs two cells a side


class RaftNetwork(Network):
    """`raft_large` or `raft_small` with the weights of one file."""

    def read(self, kind: str) -> Any:
        """The network on the CPU. Raises MissingExtraError, ModelError."""
        build = getattr(_import(), kind)
        weights = read_weights(self.folder)
        model = build(weights=None)
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            raise ModelError(f"{self.folder} holds no weights of {kind}: {error}") from error
        return model.to(self.dtype)


class Raft:
    """Role FlowEstimator. Memory grows with the square of the area that is looked at, so images
    above `pixels` are looked at smaller and their flow enlarged."""

    def __init__(self, network: RaftNetwork, iterations: int, pixels: int) -> None:
        self._network = network
        self._iterations = iterations
        self._pixels = pixels

    def flow(self, image_a: ImageHW3, image_b: ImageHW3) -> F32:
        """HxWx2 float32 pixels from `image_a` to `image_b`.

        Raises:
            UsageError: the images differ in size.
            ModelError: the device's memory does not suffice.
        """
        if image_a.shape != image_b.shape:
            raise UsageError(
                f"flow needs two images of one size, not {image_a.shape} and {image_b.shape}"
            )
        height, width = image_a.shape[:2]
        with self._network.inference(f"the flow of {width}x{height} pixels"):
            flow_HW2 = self._flow(image_a, image_b)
        return np.ascontiguousarray(flow_HW2.float().cpu().numpy())

    def _flow(self, image_a: ImageHW3, image_b: ImageHW3) -> torch.Tensor:
        torch = import_torch()
        resize = torch.nn.functional.interpolate
        planes_23HW = torch.stack([self._network.uploads.get(i) for i in (image_a, image_b)])
        planes_23HW = planes_23HW.to(self._network.dtype) / 127.5 - 1
        height, width = planes_23HW.shape[-2:]
        scale = math.sqrt(min(1.0, self._pixels / (height * width)))
        rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
        if (rows, columns) != (height, width):
            planes_23HW = resize(planes_23HW, (rows, columns), mode="bilinear", antialias=True)
        down, right = (max(_SMALLEST, -(-n // _CELL) * _CELL) - n for n in (rows, columns))
        top, left = down // 2, right // 2
        around = (left, right - left, top, down - top)
        a, b = torch.nn.functional.pad(planes_23HW, around, mode="replicate").split(1)
        flow_12HW = self._network.model(a, b, num_flow_updates=self._iterations)[-1]
        flow_12HW = flow_12HW[..., top : top + rows, left : left + columns]
        if (rows, columns) != (height, width):
            flow_12HW = resize(flow_12HW, (height, width), mode="bilinear", align_corners=False)
            enlarged = torch.tensor([width / columns, height / rows], device=flow_12HW.device)
            flow_12HW = flow_12HW * enlarged.view(1, 2, 1, 1)
        return flow_12HW[0].permute(1, 2, 0)

    def close(self) -> None:
        """Free the weights."""
        self._network.close()


def read_weights(file: Path) -> dict[str, Any]:
    """A state dict from safetensors, or from a pickle that may hold nothing but tensors.

    Raises:
        ModelError: the file is damaged, or holds more than tensors.
    """
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            weights: dict[str, Any] = load_file(file)
        else:
            weights = import_torch().load(file, map_location="cpu", weights_only=True)
        return {name.removeprefix("module."): value for name, value in weights.items()}
    except Exception as error:  # torch, pickle and safetensors raise many types
        raise ModelError(f"{file} cannot be read as weights: {error}") from error


def _import() -> Any:
    try:
        from torchvision.models import optical_flow
    except ImportError as error:
        raise MissingExtraError(
            "this model needs torchvision: pip install 'stpe[torchvision]'"
        ) from error
    except RuntimeError as error:  # its operators were built for another torch
        raise ModelError(
            f"the torchvision that is installed does not fit torch {import_torch().__version__}; "
            f"install the one that does ({error})"
        ) from error
    return optical_flow


def load(files: Mapping[str, Path], options: Mapping[str, Any]) -> Raft:
    """Options: `network` (raft_large, the default, or raft_small), `iterations` (default 12),
    `pixels` (largest area looked at; default 1280 * 720 on a GPU, 640 * 480 on a CPU)."""
    options = {"dtype": "float32", **options}
    network = RaftNetwork(options.get("network", "raft_large"), files["weights"], options)
    largest = 1280 * 720 if network.device.startswith("cuda") else 640 * 480
    return Raft(network, int(options.get("iterations", 12)), int(options.get("pixels", largest)))
