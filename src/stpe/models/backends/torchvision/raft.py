"""RAFT (Teed and Deng 2020, arXiv 2003.12039) as torchvision trains and publishes it.

File: a state dict, as torchvision's `.pth` (read without running code from it) or as safetensors.
It runs in float32 unless told otherwise: bfloat16 limits its accuracy.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stpe.errors import MissingExtraError, ModelError, UsageError
from stpe.models.roles import F32
from stpe.models.torch_runtime.network import Network, import_torch
from stpe.models.torch_runtime.torchvision_module import why_no_torchvision
from stpe.video.frame import ImageHW3

if TYPE_CHECKING:
    import torch

_CELL = 8
_SMALLEST = 128  # the coarsest correlation level needs two cells a side
_PARTS = ("feature_encoder", "context_encoder", "update_block")
_REMEMBERED = 64 << 20  # bytes of feature maps that are kept for the next pairs


class RaftNetwork(Network):
    """`raft_large` or `raft_small` with the weights of one file."""

    def read(self, kind: str) -> Any:
        """The network on the CPU. Raises MissingExtraError, ModelError."""
        build = getattr(_import()[0], kind)
        weights = read_weights(self.folder)
        model = build(weights=None)
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            raise ModelError(f"{self.folder} holds no weights of {kind}: {error}") from error
        return model.to(self.dtype)


@dataclass(frozen=True, eq=False)
class _Pair:
    """Two images of one shape."""

    a: ImageHW3
    b: ImageHW3

    @property
    def shape(self) -> tuple[int, ...]:
        return self.a.shape


class Raft:
    """Role FlowEstimator. Memory grows with the square of the area that is looked at, so images
    above `pixels` are looked at smaller and their flow enlarged.

    In a run of consecutive pairs a frame is the later one of one pair and the earlier one of the
    next: its feature map is computed once. An image is known by its array object, so it must not
    be written to meanwhile.
    """

    coarser = 1  # its cells are 8 pixels

    def __init__(self, network: RaftNetwork, iterations: int, pixels: int) -> None:
        self._network = network
        self._iterations = iterations
        self._pixels = pixels
        self._known: OrderedDict[int, tuple[ImageHW3, torch.Tensor]] = OrderedDict()

    def flow(self, image_a: ImageHW3, image_b: ImageHW3) -> F32:
        """HxWx2 float32 pixels from `image_a` to `image_b`.

        Raises:
            UsageError: the images differ in size.
            OutOfMemoryError: the device's memory does not suffice.
        """
        if image_a.shape != image_b.shape:
            raise UsageError(
                f"flow needs two images of one size, not {image_a.shape} and {image_b.shape}"
            )
        flow_HW2: F32 = self._network.batched([_Pair(image_a, image_b)], self._flow)[0]
        return flow_HW2

    def _flow(self, pairs: Sequence[_Pair]) -> list[F32]:
        """The flow of pairs of one shape."""
        torch = import_torch()
        height, width = pairs[0].shape[:2]
        scale = math.sqrt(min(1.0, self._pixels / (height * width)))
        rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
        try:
            planes = {id(i): self._plane(i, rows, columns) for p in pairs for i in (p.a, p.b)}
            flow_N2HW = self._padded_flow(pairs, planes)
        except BaseException:
            self._known.clear()  # perhaps memory ran out
            raise
        down, right = _spare(rows, columns)
        top, left = down // 2, right // 2
        flow_N2HW = flow_N2HW[..., top : top + rows, left : left + columns]
        if (rows, columns) != (height, width):
            flow_N2HW = torch.nn.functional.interpolate(
                flow_N2HW, (height, width), mode="bilinear", align_corners=False
            )
            enlarged = torch.tensor([width / columns, height / rows], device=flow_N2HW.device)
            flow_N2HW = flow_N2HW * enlarged.view(1, 2, 1, 1)
        return list(np.ascontiguousarray(flow_N2HW.permute(0, 2, 3, 1).float().cpu().numpy()))

    def _plane(self, image: ImageHW3, rows: int, columns: int) -> torch.Tensor:
        """1 x 3 x H x W in -1..1, of whole cells."""
        functional = import_torch().nn.functional
        plane_13HW = self._network.uploads.get(image)[None].to(self._network.dtype) / 127.5 - 1
        if (rows, columns) != image.shape[:2]:
            plane_13HW = functional.interpolate(
                plane_13HW, (rows, columns), mode="bilinear", antialias=True
            )
        down, right = _spare(rows, columns)
        top, left = down // 2, right // 2
        around = (left, right - left, top, down - top)
        padded: torch.Tensor = functional.pad(plane_13HW, around, mode="replicate")
        return padded

    def _padded_flow(
        self, pairs: Sequence[_Pair], planes: Mapping[int, torch.Tensor]
    ) -> torch.Tensor:
        """N x 2 x H x W: what the network's own forward pass does, with the features of each image
        computed once, and the flow enlarged after the last iteration only."""
        stack, cat = import_torch().stack, import_torch().cat
        _, grid, enlarged = _import()
        model = self._network.model
        features = self._features(pairs, planes)
        a_NCHW, b_NCHW = (
            stack([features[id(image)] for image in images])
            for images in ([pair.a for pair in pairs], [pair.b for pair in pairs])
        )
        context = model.context_encoder(cat([planes[id(pair.a)] for pair in pairs]))
        size = model.update_block.hidden_state_size
        hidden, context = context.split([size, context.shape[1] - size], 1)
        hidden, context = hidden.tanh(), context.relu()
        start = grid(len(pairs), *a_NCHW.shape[-2:], a_NCHW.device)
        at = start
        model.corr_block.build_pyramid(a_NCHW, b_NCHW)
        try:
            for _ in range(self._iterations):
                seen = model.corr_block.index_pyramid(centroids_coords=at)
                hidden, change = model.update_block(hidden, context, seen, at - start)
                at = at + change
        finally:
            model.corr_block.corr_pyramid = []  # by far the largest, and of no more use
        mask = None if model.mask_predictor is None else model.mask_predictor(hidden)
        flow_N2HW: torch.Tensor = enlarged(flow=at - start, up_mask=mask)
        return flow_N2HW

    def _features(
        self, pairs: Sequence[_Pair], planes: Mapping[int, torch.Tensor]
    ) -> dict[int, torch.Tensor]:
        """The feature map C x H x W of each image; the last ones are remembered."""
        images = {id(i): i for pair in pairs for i in (pair.a, pair.b)}
        new = [key for key in images if key not in self._known]
        if new:
            stacked = import_torch().cat([planes[key] for key in new])
            for key, features in zip(
                new, self._network.model.feature_encoder(stacked), strict=True
            ):
                self._known[key] = images[key], features.clone()
        for key in images:
            self._known.move_to_end(key)
        found = {key: self._known[key][1] for key in images}
        while sum(held.nbytes for _, held in self._known.values()) > _REMEMBERED:
            self._known.popitem(last=False)
        return found

    def close(self) -> None:
        """Free the weights."""
        self._known.clear()
        self._network.close()


def _spare(rows: int, columns: int) -> tuple[int, int]:
    """Pixels to add down and right for whole cells, and enough of them."""
    down, right = (max(_SMALLEST, -(-n // _CELL) * _CELL) - n for n in (rows, columns))
    return down, right


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


def _import() -> tuple[Any, Any, Any]:
    """torchvision's optical flow, its grid of coordinates and its enlarging of a flow."""
    why = why_no_torchvision()
    if why is not None:
        raise MissingExtraError(
            f"this model needs torchvision: {why}; run `pip install 'stpe[flagship]'`"
        )
    from torchvision.models import optical_flow
    from torchvision.models.optical_flow import _utils

    return optical_flow, _utils.make_coords_grid, _utils.upsample_flow


def load(files: Mapping[str, Path], options: Mapping[str, Any]) -> Raft:
    """Options: `network` (raft_large, the default, or raft_small), `iterations` (default 12, as
    torchvision's own forward has it: `num_flow_updates` of torchvision.models.optical_flow.RAFT),
    `pixels` (largest area looked at; default 1280 * 720 on a GPU, 640 * 480 on a CPU)."""
    options = {"dtype": "float32", **options}
    kind = options.get("network", "raft_large")
    network = RaftNetwork(kind, files["weights"], options, _PARTS)
    largest = 1280 * 720 if network.device.startswith("cuda") else 640 * 480
    return Raft(network, int(options.get("iterations", 12)), int(options.get("pixels", largest)))
