"""A box's position, size and velocity under a random walk of velocity, in real time.

Positions are in the image; velocity is relative to the camera's own image motion, which is added
when predicting. Noise is in units of the box's scale, the root of its area, as in DeepSORT
(Wojke et al. 2017), so that near and far objects are treated alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

_MEASURED = 0.06 * np.array([1.0, 1.0, 1.4, 1.4])  # deviation of a detector's box
_FIRST_VELOCITY = 1.5 * np.array([1.0, 1.0, 0.2, 0.2])  # a second
_WANDER = 0.15 * np.array([1.0, 1.0, 0.32, 0.32])  # of velocity, a root second
_FLOW_VELOCITY = 0.5  # a second: flow inside a box may be an occluder's or the background's


@dataclass
class BoxFilter:
    """Four independent axes (cx, cy, w, h), each with position and velocity per second.

    Attributes:
        mean_42: position and velocity of each axis.
        covariance_422: their covariance.
    """

    mean_42: F64
    covariance_422: F64

    @classmethod
    def start(cls, box_4: F64) -> BoxFilter:
        """At a first measured box, velocity unknown."""
        filter_ = cls(np.stack([box_4, np.zeros(4)], axis=1), np.zeros((4, 2, 2)))
        filter_.covariance_422[:, 0, 0] = (_MEASURED * filter_.scale) ** 2
        filter_.covariance_422[:, 1, 1] = (_FIRST_VELOCITY * filter_.scale) ** 2
        return filter_

    @property
    def box_4(self) -> F64:
        """Estimated (cx, cy, w, h), sides at least one pixel."""
        return np.concatenate([self.mean_42[:2, 0], np.maximum(self.mean_42[2:, 0], 1.0)])

    @property
    def scale(self) -> float:
        """Root of the box's area."""
        return float(np.sqrt(self.box_4[2] * self.box_4[3]))

    @property
    def innovation_4(self) -> F64:
        """Variance of a measured box around the estimated one."""
        return np.asarray(self.covariance_422[:, 0, 0] + (_MEASURED * self.scale) ** 2)

    def observe_velocity(self, velocity_2: F64) -> None:
        """Take in the flow's word on the velocity of the centre, camera-compensated."""
        noise = (_FLOW_VELOCITY * self.scale) ** 2
        gain = self.covariance_422[:2, :, 1] / (self.covariance_422[:2, 1, 1] + noise)[:, None]
        self._correct(np.s_[:2], gain, velocity_2 - self.mean_42[:2, 1], 1)

    def predict(self, seconds: float, camera_shift_2: F64, camera_scale: float) -> None:
        """Move on by an interval in which the camera alone would have moved and scaled the box."""
        move = np.array([[1.0, seconds], [0.0, 1.0]])
        spread = np.array([[seconds**3 / 3, seconds**2 / 2], [seconds**2 / 2, seconds]])
        wander = (_WANDER * self.scale) ** 2
        self.mean_42 = self.mean_42 @ move.T
        self.mean_42[:2, 0] += camera_shift_2
        self.mean_42[2:, 0] *= camera_scale
        self.covariance_422 = move @ self.covariance_422 @ move.T + wander[:, None, None] * spread

    def update(self, box_4: F64) -> None:
        """Take in a measured box."""
        gain = self.covariance_422[:, :, 0] / self.innovation_4[:, None]
        self._correct(np.s_[:], gain, box_4 - self.mean_42[:, 0], 0)

    def _correct(self, axes: slice, gain: F64, surprise: F64, seen: int) -> None:
        self.mean_42[axes] += gain * surprise[:, None]
        row = self.covariance_422[axes, seen, :].copy()
        self.covariance_422[axes] -= gain[:, :, None] * row[:, None, :]


def roamed_4(box_4: F64, seconds: float) -> F64:
    """Variance of a measured box around where it was, had it since gone anywhere it could."""
    scale = float(np.sqrt(box_4[2] * box_4[3]))
    return np.asarray((_MEASURED * scale) ** 2 + (_FIRST_VELOCITY * scale * seconds) ** 2)
