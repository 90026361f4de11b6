"""Depth Anything V2 (Yang et al. 2024, arXiv 2406.09414), relative or metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from stpe.models.roles import Depth
from stpe.models.torch_runtime.network import Network, import_torch
from stpe.video.frame import ImageHW3

_CONFIDENCE = {"relative": 0.8, "metres": 0.7}
# What the authors resize with (github.com/DepthAnything/Depth-Anything-V2, `image2tensor`: 518, the
# aspect ratio kept, multiples of 14), for a folder whose preprocessor_config.json does not say.
_RECIPE = {"size": {"height": 518, "width": 518}, "keep_aspect_ratio": True}
# What may run in bfloat16: the head after it would tell depths in steps that show as bands.
_BACKBONE = "backbone"


class DepthAnything:
    """Role DepthEstimator, at the size that the checkpoint's own preprocessing has. A relative
    model answers in disparity; it is inverted so that larger is farther, with the image's median
    depth as the unit."""

    def __init__(self, network: Network, side: int | None) -> None:
        self._network = network
        self._patch = int(network.config.patch_size or network.config.backbone_config.patch_size)
        told = {k: v for k, v in network.processor().items() if v is not None}
        self._settings = {"ensure_multiple_of": self._patch, **_RECIPE, **told}
        if side is not None:
            self._settings["size"] = {"height": side, "width": side}
        metric = network.config.depth_estimation_type == "metric"
        self.unit: Literal["metres", "relative"] = "metres" if metric else "relative"

    def depth(self, images: Sequence[ImageHW3]) -> list[Depth]:
        """Depth of each image at the image's size, float32."""
        return self._network.batched(images, self._depth)

    def _depth(self, images: Sequence[ImageHW3]) -> list[Depth]:
        torch = import_torch()
        height, width = images[0].shape[:2]
        size = input_size(height, width, self._settings)
        pixels = self._network.pixels(images, size, self._settings)
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


def input_size(height: int, width: int, settings: Mapping[str, Any]) -> tuple[int, int]:
    """Rows and columns that an image is resized to, as DPTImageProcessor of transformers has it:
    where the aspect ratio is kept, one side becomes `size`, the one that changes less.

    >>> input_size(480, 854, {"ensure_multiple_of": 14, **_RECIPE})
    (518, 924)
    """
    rows, columns = (float(settings["size"][side]) for side in ("height", "width"))
    if settings.get("keep_aspect_ratio"):
        down, across = rows / height, columns / width
        scale = across if abs(1 - across) < abs(1 - down) else down
        rows, columns = scale * height, scale * width
    multiple = int(settings.get("ensure_multiple_of") or 1)
    return tuple(max(1, round(n / multiple)) * multiple for n in (rows, columns))  # type: ignore[return-value]


def load(files: Mapping[str, Path], options: Mapping[str, Any]) -> DepthAnything:
    """From a hub repository's folder; `side` takes the place of the checkpoint's own size."""
    network = Network(
        "DepthAnythingForDepthEstimation", files["repository"], options, coarse=(_BACKBONE,)
    )
    return DepthAnything(network, options.get("side"))
