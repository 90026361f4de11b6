"""Depth Anything V2 (Yang et al. 2024, arXiv 2406.09414), relative or metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from stpe.models.backends.openvino.fit import fit_size
from stpe.models.roles import Depth
from stpe.models.torch_runtime.network import Network, import_torch
from stpe.video.frame import ImageHW3

_CONFIDENCE = {"relative": 0.8, "metres": 0.7}


class DepthAnything:
    """Role DepthEstimator. A relative model answers in disparity; it is inverted so that larger
    is farther, with the image's median depth as the unit."""

    def __init__(self, network: Network, side: int) -> None:
        self._network = network
        self._side = side
        self._patch = int(network.config.patch_size or network.config.backbone_config.patch_size)
        self._settings = network.processor()
        metric = network.config.depth_estimation_type == "metric"
        self.unit: Literal["metres", "relative"] = "metres" if metric else "relative"

    def depth(self, images: Sequence[ImageHW3]) -> list[Depth]:
        """Depth of each image at the image's size, float32."""
        return self._network.batched(images, self._depth)

    def _depth(self, images: Sequence[ImageHW3]) -> list[Depth]:
        torch = import_torch()
        height, width = images[0].shape[:2]
        columns, rows = fit_size(width, height, self._patch, self._side * self._side)
        pixels = self._network.pixels(images, (rows, columns), self._settings)
        found = self._network.model(pixel_values=pixels).predicted_depth.float()
        found = torch.nn.functional.interpolate(
            found[:, None], (height, width), mode="bilinear", align_corners=False
        )[:, 0]
        if self.unit == "relative":
            # Disparity has an unknown offset; its floor keeps the far end finite.
            floor = found.flatten(1).amax(1).clamp_min(1e-6).view(-1, 1, 1) * 1e-2
            found = 1 / torch.maximum(found, floor)
            found = found / found.flatten(1).median(1).values.view(-1, 1, 1)
        return [
            Depth(np.ascontiguousarray(d), self.unit, _CONFIDENCE[self.unit])
            for d in found.cpu().numpy()
        ]

    def close(self) -> None:
        """Free the weights."""
        self._network.close()


def load(files: Mapping[str, Path], options: Mapping[str, Any]) -> DepthAnything:
    """From a hub repository's folder; `side` (default 518) sets the pixel budget side x side."""
    network = Network("DepthAnythingForDepthEstimation", files["repository"], options)
    return DepthAnything(network, options.get("side", 518))
