"""What an object looks like: patches seen on and off it, and the vote of the nearest of them.

A patch of a new frame takes the label of the patches most like it, in the prompted frames
anywhere and in recent frames nearby. Nothing is learned.
Paper: label propagation as in Caron et al., Emerging Properties in Self-Supervised Vision
Transformers, 2021, section 4.3.

Shape legend: h w patches, D feature dimension, N remembered patches, K votes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stpe.models.roles import F32

#: As published: votes a patch, how sharply the nearer count more, frames remembered, and how far
#: (in patches, either way) a recent frame's patch may be.
VOTES = 5
TEMPERATURE = 0.1
RECENT = 7
REACH = 6
PROMPTED = 8  # prompted frames kept; the first always


@dataclass(frozen=True, slots=True)
class _Seen:
    """One frame: unit features hxwxD, and how much of each patch is the object, hxw."""

    features_hwD: F32
    share_hw: F32


class LabelMemory:
    """Remembered patches of one object."""

    def __init__(self) -> None:
        self._prompted: dict[int, _Seen] = {}
        self._recent: deque[_Seen] = deque(maxlen=RECENT)

    @property
    def held_bytes(self) -> int:
        """Bytes of the labels; features are shared between objects."""
        return sum(s.share_hw.nbytes for s in (*self._prompted.values(), *self._recent))

    @property
    def features(self) -> list[F32]:
        """The remembered features, for whoever counts memory."""
        return [s.features_hwD for s in (*self._prompted.values(), *self._recent)]

    def prompted(self, index: int, features_hwD: F32, mask_HW: F32) -> None:
        """Remember a frame in which someone said what the object is, instead of what was said of
        that frame before."""
        if index not in self._prompted and len(self._prompted) == PROMPTED:
            del self._prompted[list(self._prompted)[1]]
        self._prompted[index] = _Seen(features_hwD, _share(mask_HW, features_hwD))

    def followed(self, features_hwD: F32, mask_HW: F32) -> None:
        """Remember a frame in which the object was followed."""
        self._recent.append(_Seen(features_hwD, _share(mask_HW, features_hwD)))

    def forget_recent(self) -> None:
        """Keep only what was prompted."""
        self._recent.clear()

    def votes(self, features_hwD: F32, *, anywhere: bool = False) -> F32:
        """How much of each patch is the object, 0..1.

        Args:
            features_hwD: of the new frame.
            anywhere: ask the prompted frames only, since where the object is is not known.
        """
        h, w, dimension = features_hwD.shape
        query_ND = features_hwD.reshape(-1, dimension)
        similar, labels = [], []
        for seen in self._prompted.values():
            similar.append(query_ND @ seen.features_hwD.reshape(-1, dimension).T)
            labels.append(seen.share_hw.ravel())
        if not anywhere:
            far = _far(h, w)
            for seen in self._recent:
                near = query_ND @ seen.features_hwD.reshape(-1, dimension).T
                near[far] = -1.0
                similar.append(near)
                labels.append(seen.share_hw.ravel())
        all_NM, label_M = np.concatenate(similar, 1), np.concatenate(labels)
        best_NK = np.argpartition(-all_NM, VOTES, axis=1)[:, :VOTES]
        value_NK = np.take_along_axis(all_NM, best_NK, 1)
        weight_NK = np.exp((value_NK - value_NK.max(1, keepdims=True)) / TEMPERATURE)
        weight_NK /= weight_NK.sum(1, keepdims=True)
        return np.asarray((weight_NK * label_M[best_NK]).sum(1).reshape(h, w), np.float32)

    def likeness(self, features_hwD: F32, mask_HW: F32) -> float | None:
        """Mean cosine of the mask's patches to the most similar prompted patch of the object."""
        inside = _share(mask_HW, features_hwD)
        weight = np.where(inside >= 0.5 * inside.max(), inside, 0.0)
        prompted = self._prompted.values()
        known = [s.features_hwD[s.share_hw >= 0.5 * s.share_hw.max()] for s in prompted]
        if not weight.any():
            return None
        closest = (features_hwD[weight > 0] @ np.concatenate(known).T).max(1)
        return float(np.average(closest, weights=weight[weight > 0]))


def unit(dense_hwD: NDArray[Any]) -> F32:
    """Features of unit length."""
    features = dense_hwD.astype(np.float32)
    length = np.linalg.norm(features, axis=-1, keepdims=True)
    return np.asarray(features / np.maximum(length, 1e-6), np.float32)


def _share(mask_HW: F32, features_hwD: F32) -> F32:
    h, w = features_hwD.shape[:2]
    return np.asarray(cv2.resize(mask_HW, (w, h), interpolation=cv2.INTER_AREA), np.float32)


def _far(h: int, w: int) -> NDArray[np.bool_]:
    """Which of the hw x hw pairs of patches are out of each other's reach."""
    y, x = (axis.ravel() for axis in np.mgrid[:h, :w])
    return np.asarray((abs(y[:, None] - y) > REACH) | (abs(x[:, None] - x) > REACH))
