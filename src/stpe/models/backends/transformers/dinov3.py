"""DINOv3 (Simeoni et al. 2025, arXiv 2508.10104): global and dense self-supervised features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stpe.models.backends.openvino.fit import fit_size
from stpe.models.roles import ImageFeatures
from stpe.models.torch_runtime.network import Network
from stpe.video.frame import ImageHW3


class DINOv3:
    """Role ImageEmbedder: global from CLS, dense from the patch tokens, registers dropped.

    Images are stretched to the multiple of the patch that best keeps their aspect within a budget
    of `patches` tokens.
    """

    def __init__(self, network: Network, patches: int) -> None:
        self._network = network
        self._patches = patches
        self._patch = int(network.config.patch_size)
        self._skip = 1 + int(network.config.num_register_tokens)
        self._settings = network.processor()
        self.dimension = int(network.config.hidden_size)

    def embed(self, images: Sequence[ImageHW3]) -> list[ImageFeatures]:
        """Features of each image; dense is h x w x dimension with h * w near the budget."""
        return self._network.batched(images, self._embed)

    def _embed(self, images: Sequence[ImageHW3]) -> list[ImageFeatures]:
        height, width = images[0].shape[:2]
        patch = self._patch
        columns, rows = fit_size(width, height, patch, self._patches * patch * patch)
        pixels = self._network.pixels(images, (rows, columns), self._settings)
        tokens = self._network.model(pixel_values=pixels).last_hidden_state.float()
        cls = tokens[:, 0]
        cls = (cls / cls.norm(dim=-1, keepdim=True).clamp_min(1e-12)).cpu().numpy()
        grid = (len(images), rows // patch, columns // patch, self.dimension)
        dense = tokens[:, self._skip :].half().cpu().numpy().reshape(grid)
        return [
            ImageFeatures(np.ascontiguousarray(c), np.ascontiguousarray(d))
            for c, d in zip(cls, dense, strict=True)
        ]

    def close(self) -> None:
        """Free the weights."""
        self._network.close()


def load(files: Mapping[str, Path], options: Mapping[str, Any]) -> DINOv3:
    """From a hub repository's folder; `patches` (default 1536) is the token budget an image."""
    network = Network("DINOv3ViTModel", files["repository"], options)
    return DINOv3(network, options.get("patches", 1536))
