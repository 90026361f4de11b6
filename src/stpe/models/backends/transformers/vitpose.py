"""ViTPose (Xu et al. 2022, arXiv 2204.12484): joints of a person in a box, top-down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stpe.models.roles import F32, Poses
from stpe.models.torch_runtime.network import Network, import_torch
from stpe.video.frame import ImageHW3

if TYPE_CHECKING:
    import torch

# As in training: a box is enlarged by this much, heatmaps are smoothed with this deviation.
_PADDING = 1.25
_SMOOTHING = 0.8


@dataclass(frozen=True, eq=False)
class _Person:
    """A box in an image."""

    image: ImageHW3
    box_4: F32


class ViTPose:
    """Roles PoseEstimator and BoxPoseEstimator.

    It cannot find people: `estimate` takes every image for a picture of one person. People of
    several images share batches.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._settings = network.processor()
        self._height, self._width = (int(v) for v in network.config.backbone_config.image_size)
        # Models trained on several datasets at once have an expert for each; COCO is the first.
        self._experts = int(network.config.backbone_config.num_experts) > 1

    def estimate(self, images: Sequence[ImageHW3], threshold: float = 0.3) -> list[Poses]:
        """The one person that fills each image, where its mean score reaches `threshold`."""
        whole = [np.array([0, 0, i.shape[1], i.shape[0]], np.float32) for i in images]
        people = [_Person(image, box) for image, box in zip(images, whole, strict=True)]
        found = []
        for person, joints_173 in zip(people, self._all_joints(people), strict=True):
            scores_1 = joints_173[None, :, 2].mean(1)
            keep = scores_1 >= threshold
            found.append(Poses(person.box_4[None][keep], joints_173[None][keep], scores_1[keep]))
        return found

    def joints(self, image: ImageHW3, boxes_N4: F32) -> F32:
        """N x 17 x 3 (x, y in pixels of the image, score in 0..1) of the person in each box."""
        if not len(boxes_N4):
            return np.zeros((0, 17, 3), np.float32)
        return np.stack(
            self._all_joints([_Person(image, box) for box in np.asarray(boxes_N4, np.float32)])
        )

    def _all_joints(self, people: Sequence[_Person]) -> list[F32]:
        """17 x 3 of each person; those in images of one size together, whoever asks for them."""
        found: dict[int, F32] = {}
        sizes = dict.fromkeys(person.image.shape[:2] for person in people)
        for height, width in sizes:
            same = [p for p in people if p.image.shape[:2] == (height, width)]
            joints = self._network.batched(same, self._joints, f"person in {width}x{height}")
            found.update({id(p): j for p, j in zip(same, joints, strict=True)})
        return [found[id(person)] for person in people]

    def _joints(self, people: Sequence[_Person]) -> list[F32]:
        torch = import_torch()
        boxes_N4 = np.stack([person.box_4 for person in people])
        centre_N2: F32 = (boxes_N4[:, :2] + boxes_N4[:, 2:]) / np.float32(2)
        width, height = (boxes_N4[:, 2:] - boxes_N4[:, :2]).T
        aspect = self._width / self._height
        width, height = np.maximum(width, height * aspect), np.maximum(height, width / aspect)
        size_N2: F32 = np.stack([width, height], 1) * np.float32(_PADDING)
        corner_N2: F32 = centre_N2 - size_N2 / np.float32(2)
        planes = self._cut([person.image for person in people], corner_N2, size_N2)
        pixels = self._network.prepare(planes, (self._height, self._width), self._settings)
        more = {}
        if self._experts:
            more["dataset_index"] = torch.zeros(len(boxes_N4), dtype=torch.long).to(pixels.device)
        heat_NKhw = self._network.model(pixel_values=pixels, **more).heatmaps.float()
        scores_NK, best_NK = heat_NKhw.flatten(2).max(-1)
        points_NK2 = _refined(heat_NKhw, best_NK).cpu().numpy()
        grid = np.array(heat_NKhw.shape[:1:-1], np.float32)  # width, height
        points_NK2 = points_NK2 * (size_N2 / (grid - 1))[:, None] + corner_N2[:, None]
        scores = scores_NK.clamp(0, 1).cpu().numpy()[..., None]
        return list(np.concatenate([points_NK2, scores], -1).astype(np.float32))

    def _cut(self, images: Sequence[ImageHW3], corner_N2: F32, size_N2: F32) -> torch.Tensor:
        """The box of each image, all of one size, bilinear, black outside the image; the first and
        the last sample of a row lie on the box's edges."""
        torch = import_torch()
        height, width = images[0].shape[:2]
        x = corner_N2[:, :1] + np.linspace(0, 1, self._width, dtype="f4") * size_N2[:, :1]
        y = corner_N2[:, 1:] + np.linspace(0, 1, self._height, dtype="f4") * size_N2[:, 1:]
        x, y = 2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1
        shape = (len(x), self._height, self._width)
        places = np.stack(
            [np.broadcast_to(x[:, None], shape), np.broadcast_to(y[:, :, None], shape)], -1
        )
        at = self._network.sent(places)
        cut, first = [], 0
        while first < len(images):  # those of one image follow each other
            end = first + 1
            while end < len(images) and images[end] is images[first]:
                end += 1
            plane = self._network.uploads.get(images[first])[None].float()
            cut.append(
                torch.nn.functional.grid_sample(
                    plane.expand(end - first, -1, -1, -1), at[first:end], align_corners=True
                )
            )
            first = end
        return torch.cat(cut)

    def close(self) -> None:
        """Free the weights."""
        self._network.close()


def _refined(heat_NKhw: torch.Tensor, best_NK: torch.Tensor) -> torch.Tensor:
    """Each peak's place (x, y) to a fraction of a cell: one Newton step on the logarithm of the
    smoothed heatmap (Zhang et al. 2020, distribution-aware coordinates, arXiv 1910.06278)."""
    torch = import_torch()
    pad = torch.nn.functional.pad
    count, joints, rows, columns = heat_NKhw.shape
    taps = torch.exp(-0.5 * (torch.arange(-1, 2, device=heat_NKhw.device) / _SMOOTHING) ** 2)
    taps = taps / taps.sum()
    kernel = (taps[:, None] * taps)[None, None]
    flat = heat_NKhw.reshape(count * joints, 1, rows, columns)
    smooth = torch.nn.functional.conv2d(pad(flat, (1, 1, 1, 1), mode="replicate"), kernel)
    smooth = pad(smooth.clamp(1e-3, 50).log(), (1, 1, 1, 1), mode="replicate")[:, 0]
    x, y = (best_NK % columns).flatten(), (best_NK // columns).flatten()
    each = torch.arange(len(x), device=x.device)

    def at(dx: int, dy: int) -> Any:
        return smooth[each, y + 1 + dy, x + 1 + dx]

    here = at(0, 0)
    slope = torch.stack([at(1, 0) - at(-1, 0), at(0, 1) - at(0, -1)], -1) / 2
    xx, yy = at(1, 0) - 2 * here + at(-1, 0), at(0, 1) - 2 * here + at(0, -1)
    xy = at(1, 1) - at(1, 0) - at(0, 1) + 2 * here - at(-1, 0) - at(0, -1) + at(-1, -1)
    bend = torch.stack([xx, xy / 2, xy / 2, yy], -1).view(-1, 2, 2)
    bend = bend + torch.finfo(torch.float32).eps * torch.eye(2, device=bend.device)
    move = torch.linalg.solve_ex(bend, slope[..., None])[0][..., 0]
    # Where the heatmap is flat there is no peak to refine.
    move = torch.where(move.abs().amax(-1, keepdim=True) <= 1, move, torch.zeros_like(move))
    return (torch.stack([x, y], -1) - move).view(count, joints, 2)


def load(files: Mapping[str, Path], options: Mapping[str, Any]) -> ViTPose:
    """From a hub repository's folder; `batch` people are looked at at once."""
    return ViTPose(Network("VitPoseForPoseEstimation", files["repository"], options))
