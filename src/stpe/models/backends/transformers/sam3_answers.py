"""What a SAM 3 session answers for a frame: the model's logits of each object as masks at the
frame's size, kept in bits while they wait."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stpe.models.backends.transformers.sam3_look import Look
from stpe.models.roles import VideoFrame, VideoObject
from stpe.models.torch_runtime.network import import_torch

if TYPE_CHECKING:
    import torch

_AT_ONCE = 8  # masks brought to the frame's size together


@dataclass(frozen=True)
class Followed:
    """One object in one frame, as the model gives it.

    Attributes:
        logits_hw: at the model's low resolution.
        score: how surely it is there, 0..1.
        rank: decides between objects of one label that claim the same pixel.
    """

    id: int
    label: str | None
    logits_hw: torch.Tensor
    score: float
    rank: float


@dataclass(frozen=True)
class Shown:
    """An object in a frame that waits to be answered; its mask in bits.

    Attributes:
        rank: among named objects of one label, the higher has the pixels both claim; None for
            objects that were pointed at.
    """

    id: int
    label: str | None
    bits: NDArray[np.uint8]
    score: float
    rank: float | None


@dataclass(frozen=True)
class Waiting:
    """A frame that waits to be answered."""

    index: int
    height: int
    width: int
    objects: list[Shown]


def shown(look: Look, followed: Sequence[Followed], *, ranked: bool) -> list[Shown]:
    """Masks at the frame's size: where a logit, interpolated, is positive."""
    torch = import_torch()
    size = (look.height, look.width)
    bits: list[NDArray[np.uint8]] = []
    for start in range(0, len(followed), _AT_ONCE):
        part = followed[start : start + _AT_ONCE]
        logits = torch.stack([one.logits_hw.float() for one in part])[:, None]
        full = torch.nn.functional.interpolate(logits, size, mode="bilinear")[:, 0] > 0
        bits += [np.packbits(mask) for mask in full.cpu().numpy()]
    return [
        Shown(one.id, one.label, mask, one.score, one.rank if ranked else None)
        for one, mask in zip(followed, bits, strict=True)
    ]


def answered(waiting: Waiting, pts: float, there: Collection[int]) -> VideoFrame:
    """Those of a frame's objects that are still `there`; of one label, no pixel belongs to two."""
    shape = waiting.height, waiting.width
    objects = [one for one in waiting.objects if one.id in there]
    masks = {
        one.id: np.unpackbits(one.bits, count=shape[0] * shape[1]).reshape(shape).astype(bool)
        for one in objects
    }
    for label in {one.label for one in objects if one.rank is not None}:
        same = [one for one in objects if one.rank is not None and one.label == label]
        taken = np.zeros(shape, bool)
        for one in sorted(same, key=lambda o: -(o.rank or 0.0)):
            masks[one.id] &= ~taken
            taken |= masks[one.id]
    return VideoFrame(
        waiting.index,
        pts,
        tuple(
            VideoObject(one.id, masks[one.id], min(1.0, max(0.0, one.score)), one.label)
            for one in sorted(objects, key=lambda o: o.id)
        ),
    )
